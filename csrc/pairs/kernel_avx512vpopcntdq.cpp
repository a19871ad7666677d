#include "../hamming/lanes_avx512.h"

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_avx512vpopcntdq() { return {compare, 0.1}; }

}  // namespace fasthash
