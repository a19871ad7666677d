#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<MultiIndexKernel> kLevels[] = {
    {Isa::baseline, multi_index_kernel_baseline},
#if defined(__x86_64__)
    {Isa::v2, multi_index_kernel_v2},
    {Isa::avx512vpopcntdq, multi_index_kernel_avx512vpopcntdq},
#endif
};

}  // namespace

MultiIndexKernel multi_index_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
