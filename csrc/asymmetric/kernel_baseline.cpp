#include "../hamming/lanes_scalar.h"
#include "weighted_filter.h"

namespace fasthash {

AsymmetricKernel asymmetric_kernel_baseline() { return weighted_kernel(); }

}  // namespace fasthash
