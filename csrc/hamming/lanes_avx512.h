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
    using Partial = __m512i;
    using Counts = __m512i;

    static Words load(const uint64_t* p) { return _mm512_loadu_si512(p); }
    static Words load_first(const uint64_t* p, int n) { return _mm512_maskz_loadu_epi64(static_cast<__mmask8>((1u << n) - 1), p); }
    static Words broadcast(uint64_t word) { return _mm512_set1_epi64(static_cast<long long>(word)); }
    template <int kRepeated>
    static Words repeat(const uint64_t* words) {
        if (kRepeated == kLanes) return load(words);
        if (kRepeated == 4) return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
        return _mm512_broadcast_i64x2(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
    }
    static Partial zero() { return _mm512_setzero_si512(); }
#if defined(__AVX512VPOPCNTDQ__)
    static constexpr int kMaxPartials = 1 << 20;
    using Split = Words;
    static Split split(Words a) { return a; }
    static Partial popcount_of_both(Split a, Split b) { return _mm512_popcnt_epi64(_mm512_and_si512(a, b)); }
    static Partial partial_popcount(Words a, Words b) { return _mm512_popcnt_epi64(_mm512_xor_si512(a, b)); }
    static Partial add(Partial a, Partial b) { return _mm512_add_epi64(a, b); }
    static Counts finish(Partial a) { return a; }
#else
    static constexpr int kMaxPartials = 31;  // 31 * 8 bits still fit a byte
    struct Split {                           // the lower and the upper half of every byte
        Words low, high;
    };
    static Split split(Words a) {
        const __m512i nibble = _mm512_set1_epi8(0x0f);
        return {_mm512_and_si512(a, nibble), _mm512_and_si512(_mm512_srli_epi16(a, 4), nibble)};
    }
    static Partial popcount(Split a) {
        const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        return _mm512_add_epi8(_mm512_shuffle_epi8(table, a.low), _mm512_shuffle_epi8(table, a.high));
    }
    static Partial popcount_of_both(Split a, Split b) {
        return popcount({_mm512_and_si512(a.low, b.low), _mm512_and_si512(a.high, b.high)});
    }
    static Partial partial_popcount(Words a, Words b) { return popcount(split(_mm512_xor_si512(a, b))); }
    static Partial add(Partial a, Partial b) { return _mm512_add_epi8(a, b); }
    static Counts finish(Partial a) { return _mm512_sad_epu8(a, _mm512_setzero_si512()); }
#endif
    static Counts zero_counts() { return _mm512_setzero_si512(); }
    static Counts add_counts(Counts a, Counts b) { return _mm512_add_epi64(a, b); }
    static Counts pairwise(Counts a, Counts b) {
        const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
        return _mm512_add_epi64(_mm512_permutex2var_epi64(a, even, b), _mm512_permutex2var_epi64(a, odd, b));
    }
    static Counts minimum(Counts a, Counts b) { return _mm512_min_epu32(a, b); }
    static Counts limit(uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }
    static bool any_below(Counts a, Counts limit) { return below(a, limit) != 0; }
    static uint32_t below(Counts a, Counts limit) { return _mm512_cmplt_epu64_mask(a, limit); }
    static int64_t take(Counts counts, Counts limit, int64_t rank, int64_t left, uint64_t* items) {
        const uint32_t inside = left >= kLanes ? 0xff : (1u << (left > 0 ? left : 0)) - 1;
        const __mmask8 below = _mm512_mask_cmplt_epu64_mask(static_cast<__mmask8>(inside), counts, limit);
        const __m512i ranks = _mm512_add_epi64(_mm512_set1_epi64(rank), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
        const __m512i taken = _mm512_or_si512(_mm512_slli_epi64(counts, kRankBits), ranks);
        // Compressing straight to memory is microcoded on some processors; there is room for a whole register.
        _mm512_storeu_si512(items, _mm512_maskz_compress_epi64(below, taken));
        return _mm_popcnt_u32(below);
    }
    static void store32(Counts a, int32_t* out) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi64_epi32(a)); }
};

}  // namespace
}  // namespace fasthash
