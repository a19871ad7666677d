#include "step.h"

namespace fasthash {

H2QKernel h2q_kernel_avx512() { return {step, rotation, objective}; }

}  // namespace fasthash
