#include "filter.h"
#include "lanes_avx512.h"

namespace fasthash {

HammingKernel hamming_kernel_avx512() { return {scan, distances, rows_up_to, plane_filter, 0.17}; }

}  // namespace fasthash
