#include "../hamming/lanes_neon.h"
#include "weighted_filter.h"

namespace fasthash {

AsymmetricKernel asymmetric_kernel_neon() { return weighted_kernel(); }

}  // namespace fasthash
