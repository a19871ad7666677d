#include "count_avx512.h"
#include "widen.h"

namespace fasthash {

RankingKernel ranking_kernel_avx512() { return {count, finish, widen}; }

}  // namespace fasthash
