#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<RankingKernel> kLevels[] = {
    {Isa::baseline, [] { return RankingKernel{}; }},
#if defined(__x86_64__)
    {Isa::avx512, ranking_kernel_avx512},
    {Isa::avx512vpopcntdq, ranking_kernel_avx512vpopcntdq},
#endif
};

}  // namespace

RankingKernel ranking_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
