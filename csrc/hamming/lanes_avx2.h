#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernel.h"

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 4;
    static constexpr int kMaxPartials = 31;  // 31 * 8 bits still fit a byte
    using Words = __m256i;
    using Partial = __m256i;  // a count per byte
    using Counts = __m256i;

    static Words load(const uint64_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
    static Words load_first(const uint64_t* p, int n) {
        const __m256i inside = _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
        return _mm256_maskload_epi64(reinterpret_cast<const long long*>(p), inside);
    }
    static Words broadcast(uint64_t word) { return _mm256_set1_epi64x(static_cast<long long>(word)); }
    struct Split {  // the lower and the upper half of every byte
        Words low, high;
    };
    static Split split(Words a) {
        const __m256i nibble = _mm256_set1_epi8(0x0f);
        return {_mm256_and_si256(a, nibble), _mm256_and_si256(_mm256_srli_epi16(a, 4), nibble)};
    }
    static Partial popcount(Split a) {
        const __m256i table =
            _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
        return _mm256_add_epi8(_mm256_shuffle_epi8(table, a.low), _mm256_shuffle_epi8(table, a.high));
    }
    static Partial popcount_of_both(Split a, Split b) {
        return popcount({_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)});
    }
    static Partial partial_popcount(Words a, Words b) { return popcount(split(_mm256_xor_si256(a, b))); }
    // Four words are one register; two are twice in one.
    template <int kRepeated>
    static Words repeat(const uint64_t* words) {
        if (kRepeated == kLanes) return load(words);
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
    }
    static Partial zero() { return _mm256_setzero_si256(); }
    static Partial add(Partial a, Partial b) { return _mm256_add_epi8(a, b); }
    static Counts finish(Partial a) { return _mm256_sad_epu8(a, _mm256_setzero_si256()); }
    static Counts zero_counts() { return _mm256_setzero_si256(); }
    static Counts add_counts(Counts a, Counts b) { return _mm256_add_epi64(a, b); }
    static Counts pairwise(Counts a, Counts b) {
        const __m256i sums = _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
        return _mm256_permute4x64_epi64(sums, 0b11011000);
    }
    static Counts minimum(Counts a, Counts b) { return _mm256_min_epu32(a, b); }
    static Counts limit(uint64_t value) { return _mm256_set1_epi64x(static_cast<long long>(value)); }
    static bool any_below(Counts a, Counts limit) { return below(a, limit) != 0; }
    static uint32_t below(Counts a, Counts limit) {
        return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(limit, a))));
    }
    static int64_t take(Counts counts, Counts limit, int64_t rank, int64_t left, uint64_t* items) {
        // Each lane's halves, those of lanes below the limit first.
        alignas(32) static constexpr uint32_t kFirst[16][8] = {
            {0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7}, {2, 3, 0, 1, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7},
            {4, 5, 0, 1, 2, 3, 6, 7}, {0, 1, 4, 5, 2, 3, 6, 7}, {2, 3, 4, 5, 0, 1, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7},
            {6, 7, 0, 1, 2, 3, 4, 5}, {0, 1, 6, 7, 2, 3, 4, 5}, {2, 3, 6, 7, 0, 1, 4, 5}, {0, 1, 2, 3, 6, 7, 4, 5},
            {4, 5, 6, 7, 0, 1, 2, 3}, {0, 1, 4, 5, 6, 7, 2, 3}, {2, 3, 4, 5, 6, 7, 0, 1}, {0, 1, 2, 3, 4, 5, 6, 7}};
        const uint32_t inside = left >= kLanes ? 0xf : (1u << (left > 0 ? left : 0)) - 1;
        const uint32_t taken = below(counts, limit) & inside;
        const __m256i ranks = _mm256_add_epi64(_mm256_set1_epi64x(rank), _mm256_setr_epi64x(0, 1, 2, 3));
        const __m256i all = _mm256_or_si256(_mm256_slli_epi64(counts, kRankBits), ranks);
        const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kFirst[taken]));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(items), _mm256_permutevar8x32_epi32(all, order));
        return __builtin_popcount(taken);
    }
    static void store32(Counts a, int32_t* out) {
        const __m256i even = _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(even));
    }
};

}  // namespace
}  // namespace fasthash
