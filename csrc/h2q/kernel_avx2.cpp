#include "step.h"

namespace fasthash {

H2QKernel h2q_kernel_avx2() { return {step, rotation, objective}; }

}  // namespace fasthash
