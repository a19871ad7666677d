#include "lanes_neon.h"
#include "plane_filter.h"

namespace fasthash {

HammingKernel hamming_kernel_neon() { return {scan, distances, rows_up_to, plane_filter(0.15), 0.3}; }

}  // namespace fasthash
