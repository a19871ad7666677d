#include "dispatch.h"

namespace fasthash {

HammingKernel hamming_kernel(Isa isa) {
    switch (isa) {
#if defined(__x86_64__)
        case Isa::v2: return hamming_kernel_v2();
        case Isa::avx2: return hamming_kernel_avx2();
        case Isa::avx512: return hamming_kernel_avx512();
        case Isa::avx512vpopcntdq: return hamming_kernel_avx512vpopcntdq();
#elif defined(__aarch64__)
        case Isa::neon: return hamming_kernel_neon();
#endif
        default: return hamming_kernel_baseline();
    }
}

}  // namespace fasthash
