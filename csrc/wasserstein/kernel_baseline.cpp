#include "two_point.h"

namespace fasthash {

WassersteinKernel wasserstein_kernel_baseline() { return {FASTHASH_REGISTER_BYTES, {two_point<float>(), two_point<double>()}}; }

}  // namespace fasthash
