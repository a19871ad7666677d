#include "reflections.h"

namespace fasthash {

HouseholderKernel householder_kernel_avx512() { return {householder_functions<float>(), householder_functions<double>()}; }

}  // namespace fasthash
