#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "take_lanes.h"

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 2;
    static constexpr int kMaxPartials = 31;  // 31 * 8 bits still fit a byte
    using Words = uint64x2_t;
    using Partial = uint8x16_t;  // a count per byte
    using Counts = uint64x2_t;

    static Words load(const uint64_t* p) { return vld1q_u64(p); }
    static Words load_first(const uint64_t* p, int) { return vcombine_u64(vld1_u64(p), vdup_n_u64(0)); }
    static Words broadcast(uint64_t word) { return vdupq_n_u64(word); }
    static Partial partial_popcount(Words a, Words b) { return vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b))); }
    using Split = Words;
    static Split split(Words a) { return a; }
    static Partial popcount_of_both(Split a, Split b) { return vcntq_u8(vreinterpretq_u8_u64(vandq_u64(a, b))); }
    template <int>
    static Words repeat(const uint64_t* words) {
        return load(words);
    }
    static Partial zero() { return vdupq_n_u8(0); }
    static Partial add(Partial a, Partial b) { return vaddq_u8(a, b); }
    static Counts finish(Partial a) { return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(a))); }
    static Counts zero_counts() { return vdupq_n_u64(0); }
    static Counts add_counts(Counts a, Counts b) { return vaddq_u64(a, b); }
    static Counts pairwise(Counts a, Counts b) { return vpaddq_u64(a, b); }
    static Counts minimum(Counts a, Counts b) {
        return vreinterpretq_u64_u32(vminq_u32(vreinterpretq_u32_u64(a), vreinterpretq_u32_u64(b)));
    }
    static Counts limit(uint64_t value) { return vdupq_n_u64(value); }
    static bool any_below(Counts a, Counts limit) { return below(a, limit) != 0; }
    static uint32_t below(Counts a, Counts limit) {
        const uint64x2_t less = vcltq_u64(a, limit);
        return static_cast<uint32_t>((vgetq_lane_u64(less, 0) & 1) | (vgetq_lane_u64(less, 1) & 2));
    }
    static int64_t take(Counts counts, Counts limit, int64_t rank, int64_t left, uint64_t* items) {
        uint64_t distances[kLanes];
        vst1q_u64(distances, counts);
        return take_lanes(below(counts, limit), distances, rank, left, items);
    }
    static void store32(Counts a, int32_t* out) { vst1_s32(out, vreinterpret_s32_u32(vmovn_u64(a))); }
};

}  // namespace
}  // namespace fasthash
