#pragma once

// Included by files compiled for one processor level each, too, so in an anonymous namespace.
#include <cstdint>

namespace fasthash {
namespace {

#if defined(__POPCNT__) || defined(__aarch64__)
constexpr bool kHasPopcount = true;
#else
constexpr bool kHasPopcount = false;
#endif

inline uint64_t popcount(uint64_t x) {
    if (kHasPopcount) return static_cast<uint64_t>(__builtin_popcountll(x));
    // Without the instruction the compiler's builtin is a call into its run-time library.
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return x * 0x0101010101010101u >> 56;
}

}  // namespace
}  // namespace fasthash
