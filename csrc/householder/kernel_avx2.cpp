#include "reflections.h"

namespace fasthash {

HouseholderKernel householder_kernel_avx2() { return {householder_functions<float>(), householder_functions<double>()}; }

}  // namespace fasthash
