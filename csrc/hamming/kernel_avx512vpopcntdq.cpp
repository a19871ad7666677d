#include "lanes_avx512.h"
#include "scan.h"

namespace fasthash {

HammingKernel hamming_kernel_avx512vpopcntdq() { return {scan, distances, rows_up_to, 0.08}; }

}  // namespace fasthash
