#include <immintrin.h>

#include "verify.h"

namespace fasthash {

namespace {

// Eight entries at a time, as buckets are short.
int64_t select(const Probe& probe, const Bucket* buckets, int64_t n_buckets, uint32_t* entries) {
    if (!probe.words) return select_all(buckets, n_buckets, entries);
    const __m512i query = _mm512_set1_epi64(static_cast<long long>(probe.query_word));
    const __m512i limit = _mm512_set1_epi64(static_cast<long long>(probe.limit));
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    int64_t selected = 0;
    for (int64_t i = 0; i < n_buckets; ++i) {
        const uint32_t end = buckets[i].end;
        for (uint32_t entry = buckets[i].begin; entry < end; entry += 8) {
            const __mmask8 inside = static_cast<__mmask8>(end - entry >= 8 ? 0xff : (1u << (end - entry)) - 1);
            const __m512i words = _mm512_maskz_loadu_epi64(inside, probe.words + entry);
            const __mmask8 near = _mm512_mask_cmple_epu64_mask(inside, _mm512_popcnt_epi64(_mm512_xor_si512(words, query)), limit);
            const __m256i numbers = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(entry)), lanes);
            // Compressing straight to memory is microcoded on some processors; there is room for a whole register.
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(entries + selected), _mm256_maskz_compress_epi32(near, numbers));
            selected += _mm_popcnt_u32(near);
        }
    }
    return selected;
}

}  // namespace

MultiIndexKernel multi_index_kernel_avx512vpopcntdq() { return {select, verify, kPopcountCost}; }

}  // namespace fasthash
