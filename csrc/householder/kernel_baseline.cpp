#include "reflections.h"

namespace fasthash {

HouseholderKernel householder_kernel_baseline() { return {householder_functions<float>(), householder_functions<double>()}; }

}  // namespace fasthash
