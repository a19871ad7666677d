// Eight codes at a time; how a register is counted depends on VPOPCNTDQ.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernel.h"

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 8;
    using Words = __m512i;

    static Words load(const uint64_t* p) { return _mm512_loadu_si512(p); }
    static Words broadcast(uint64_t word) { return _mm512_set1_epi64(static_cast<long long>(word)); }
    static Words add(Words a, Words b) { return _mm512_add_epi64(a, b); }
    static Words differing(Words a, Words b) {
        const __m512i x = _mm512_xor_si512(a, b);
#if defined(__AVX512VPOPCNTDQ__)
        return _mm512_popcnt_epi64(x);
#else
        const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const __m512i nibble = _mm512_set1_epi8(0x0f);
        const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(x, nibble));
        const __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble));
        return _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
#endif
    }
    static uint32_t at_most(Words a, Words limit) { return _mm512_cmple_epu64_mask(a, limit); }
};

}  // namespace
}  // namespace fasthash
