#include "kernel.h"
#include "widen.h"

namespace fasthash {

RankingKernel ranking_kernel_avx2() { return {nullptr, nullptr, widen}; }

}  // namespace fasthash
