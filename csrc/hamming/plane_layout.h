#pragma once

// Included by files compiled for one processor level each, too, so its function is in an anonymous namespace.
#include <cstdint>

namespace fasthash {

// Where a group of codes has its bit planes, in words: a plane for each bit of the codes, then those of popcount + n_bits / 2
// from the lowest bit up, then one of zeros.
struct PlaneLayout {
    int n_bits;
    int counters;  // planes that count up to n_bits - 1, at least 5
    int block;     // so many planes of a query are added at a time
    int64_t plane_words, popcounts, zeros, group_words;
};

namespace {

inline PlaneLayout plane_layout(int n_bits, int64_t plane_words) {
    const int counters = n_bits <= 32 ? 5 : 32 - __builtin_clz(static_cast<unsigned>(n_bits - 1));
    int block = counters == 5 ? 16 : 32;
    if (n_bits == 1 << counters && counters > 6) block = 64;
    const int64_t popcounts = n_bits * plane_words, zeros = popcounts + (counters + 1) * plane_words;
    return {n_bits, counters, block, plane_words, popcounts, zeros, zeros + plane_words};
}

}  // namespace
}  // namespace fasthash
