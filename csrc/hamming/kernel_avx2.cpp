#include "lanes_avx2.h"
#include "plane_filter.h"

namespace fasthash {

HammingKernel hamming_kernel_avx2() { return {scan, distances, rows_up_to, plane_filter(0.11), 0.23}; }

}  // namespace fasthash
