#include "lanes_avx512.h"
#include "plane_filter.h"

namespace fasthash {

HammingKernel hamming_kernel_avx512vpopcntdq() { return {scan, distances, rows_up_to, plane_filter(0.05), 0.08}; }

}  // namespace fasthash
