#pragma once

#include "../cpu_features.h"
#include "kernel.h"

namespace fasthash {

HammingKernel hamming_kernel(Isa isa);

}  // namespace fasthash
