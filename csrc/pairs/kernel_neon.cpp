#include <arm_neon.h>

#include <cstdint>

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 2;
    using Words = uint64x2_t;

    static Words load(const uint64_t* p) { return vld1q_u64(p); }
    static Words broadcast(uint64_t word) { return vdupq_n_u64(word); }
    static Words add(Words a, Words b) { return vaddq_u64(a, b); }
    static Words differing(Words a, Words b) {
        return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b))))));
    }
    static uint32_t at_most(Words a, Words limit) {
        const uint64x2_t within = vcleq_u64(a, limit);
        return static_cast<uint32_t>((vgetq_lane_u64(within, 0) & 1) | (vgetq_lane_u64(within, 1) & 2));
    }
};

}  // namespace
}  // namespace fasthash

#include "compare.h"

namespace fasthash {

PairsKernel pairs_kernel_neon() { return {compare, 0.6}; }

}  // namespace fasthash
