#include "../hamming/lanes_scalar.h"

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_baseline() { return {compare, 3}; }

}  // namespace fasthash
