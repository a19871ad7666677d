#include "../hamming/lanes_scalar.h"

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_v2() { return {compare, 0.6}; }

}  // namespace fasthash
