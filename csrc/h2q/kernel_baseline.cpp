#include "step.h"

namespace fasthash {

H2QKernel h2q_kernel_baseline() { return {step, rotation, objective}; }

}  // namespace fasthash
