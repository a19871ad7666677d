#include <immintrin.h>

#include <cstdint>

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 4;
    using Words = __m256i;

    static Words load(const uint64_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
    static Words broadcast(uint64_t word) { return _mm256_set1_epi64x(static_cast<long long>(word)); }
    static Words add(Words a, Words b) { return _mm256_add_epi64(a, b); }
    static Words differing(Words a, Words b) {
        const __m256i table =
            _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
        const __m256i nibble = _mm256_set1_epi8(0x0f);
        const __m256i x = _mm256_xor_si256(a, b);
        const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
        const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
        return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
    }
    static uint32_t at_most(Words a, Words limit) {
        return ~static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(a, limit)))) & 0xf;
    }
};

}  // namespace
}  // namespace fasthash

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_avx2() { return {compare, 0.4}; }

}  // namespace fasthash
