#pragma once

// Included by files compiled for one processor level each, too, so in an anonymous namespace.
#include <cstddef>
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

// The ones of so many bytes: 16 words at a time, whose bytes' counts fit a byte, in a loop that compilers vectorise.
inline int64_t count_ones(const uint8_t* bytes, int64_t n_bytes) {
    constexpr int64_t kWords = 16;
    uint64_t ones = 0;
    for (; n_bytes >= 8 * kWords; n_bytes -= 8 * kWords, bytes += 8 * kWords) {
        uint64_t words[kWords], sums = 0;
        __builtin_memcpy(words, bytes, sizeof words);
        for (uint64_t x : words) {
            x -= x >> 1 & 0x5555555555555555u;
            x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
            sums += (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
        }
        sums = (sums & 0x00ff00ff00ff00ffu) + (sums >> 8 & 0x00ff00ff00ff00ffu);
        ones += sums * 0x0001000100010001u >> 48;
    }
    for (; n_bytes > 0; n_bytes -= 8, bytes += 8) {
        uint64_t word = 0;
        __builtin_memcpy(&word, bytes, static_cast<size_t>(n_bytes < 8 ? n_bytes : 8));
        ones += popcount(word);
    }
    return static_cast<int64_t>(ones);
}

}  // namespace
}  // namespace fasthash
