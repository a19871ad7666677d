#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<H2QKernel> kLevels[] = {
    {Isa::baseline, h2q_kernel_baseline},
#if defined(__x86_64__)
    {Isa::avx2, h2q_kernel_avx2},
    {Isa::avx512, h2q_kernel_avx512},
#endif
};

}  // namespace

H2QKernel h2q_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
