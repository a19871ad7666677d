#include "../levels.h"
#include "kernel.h"

namespace fasthash {

namespace {

constexpr Level<HammingKernel> kLevels[] = {
    {Isa::baseline, hamming_kernel_baseline},
#if defined(__x86_64__)
    {Isa::v2, hamming_kernel_v2},
    {Isa::avx2, hamming_kernel_avx2},
    {Isa::avx512, hamming_kernel_avx512},
    {Isa::avx512vpopcntdq, hamming_kernel_avx512vpopcntdq},
#elif defined(__aarch64__)
    {Isa::neon, hamming_kernel_neon},
#endif
};

}  // namespace

HammingKernel hamming_kernel(Isa isa) { return at_level(kLevels, isa); }

}  // namespace fasthash
