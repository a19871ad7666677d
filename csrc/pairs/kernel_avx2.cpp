#include "../hamming/lanes_avx2.h"

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_avx2() { return {compare, 0.4}; }

}  // namespace fasthash
