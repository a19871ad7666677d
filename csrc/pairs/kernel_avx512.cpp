#include "../hamming/lanes_avx512.h"

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_avx512() { return {compare, 0.25}; }

}  // namespace fasthash
