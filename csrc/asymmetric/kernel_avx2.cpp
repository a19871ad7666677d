#include "../hamming/lanes_avx2.h"
#include "weighted_filter.h"

namespace fasthash {

AsymmetricKernel asymmetric_kernel_avx2() { return weighted_kernel(); }

}  // namespace fasthash
