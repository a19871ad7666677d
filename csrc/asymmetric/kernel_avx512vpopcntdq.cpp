#include "../hamming/lanes_avx512.h"
#include "weighted_filter.h"

namespace fasthash {

AsymmetricKernel asymmetric_kernel_avx512vpopcntdq() { return weighted_kernel(); }

}  // namespace fasthash
