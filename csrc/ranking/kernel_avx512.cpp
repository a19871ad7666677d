#include "count_avx512.h"

namespace fasthash {

RankingKernel ranking_kernel_avx512() { return {count, finish}; }

}  // namespace fasthash
