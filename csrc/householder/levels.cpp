#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<HouseholderKernel> kLevels[] = {
    {Isa::baseline, householder_kernel_baseline},
#if defined(__x86_64__)
    {Isa::avx2, householder_kernel_avx2},
    {Isa::avx512, householder_kernel_avx512},
#endif
};

}  // namespace

HouseholderKernel householder_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
