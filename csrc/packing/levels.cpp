#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<PackingKernel> kLevels[] = {
    {Isa::baseline, packing_kernel_baseline},
#if defined(__x86_64__)
    {Isa::avx2, packing_kernel_avx2},
    {Isa::avx512, packing_kernel_avx512},
#endif
};

}  // namespace

PackingKernel packing_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
