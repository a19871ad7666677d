#include "count_avx512.h"
#include "widen.h"

namespace fasthash {

RankingKernel ranking_kernel_avx512vpopcntdq() { return {count, finish, widen}; }

}  // namespace fasthash
