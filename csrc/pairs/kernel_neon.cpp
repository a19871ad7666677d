#include "../hamming/lanes_neon.h"

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_neon() { return {compare, 0.6}; }

}  // namespace fasthash
