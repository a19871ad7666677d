#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<WassersteinKernel> kLevels[] = {
    {Isa::baseline, wasserstein_kernel_baseline},
#if defined(__x86_64__)
    {Isa::avx2, wasserstein_kernel_avx2},
    {Isa::avx512, wasserstein_kernel_avx512},
#endif
};

}  // namespace

WassersteinKernel wasserstein_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
