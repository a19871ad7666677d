#pragma once

// Included by files compiled for one processor level each, too, so its functions are in an anonymous namespace.
#include <cstdint>

namespace fasthash {

constexpr int kSmallBlockBits = 3, kSmallBlock = 1 << kSmallBlockBits;

// Where a group of codes has its bit planes, in words: a plane for each bit of the codes, then those of popcount + n_bits / 2
// from the lowest bit up, then one of zeros.
struct PlaneLayout {
    int n_bits;
    int counters;  // planes that count up to n_bits - 1, at least 5
    int block;     // so many planes of a query are added at a time, and the rest kSmallBlock at a time
    int64_t plane_words, popcounts, zeros, group_words;
};

// The blocks in which a query's planes are added.
struct PlaneBlocks {
    int n_blocks, n_small_blocks;
    int n_planes;  // with those of zeros that fill the blocks up
};

namespace {

inline PlaneLayout plane_layout(int n_bits, int64_t plane_words) {
    const int counters = n_bits <= 32 ? 5 : 32 - __builtin_clz(static_cast<unsigned>(n_bits - 1));
    // About half as many planes as the widest codes of so many counters have, or a quarter, and less where fewer bits leave more of it empty.
    int block = counters < 7 ? 1 << (counters - 1) : 64;
    if (n_bits < 1 << counters && counters > 5) block /= 2;
    const int64_t popcounts = n_bits * plane_words, zeros = popcounts + (counters + 1) * plane_words;
    return {n_bits, counters, block, plane_words, popcounts, zeros, zeros + plane_words};
}

inline PlaneBlocks plane_blocks(int n_chosen, const PlaneLayout& layout) {
    int n_blocks = n_chosen / layout.block, n_small_blocks = (n_chosen % layout.block + kSmallBlock - 1) / kSmallBlock;
    if (2 * n_small_blocks * kSmallBlock > layout.block) {  // a whole block costs less
        ++n_blocks;
        n_small_blocks = 0;
    }
    return {n_blocks, n_small_blocks, n_blocks * layout.block + n_small_blocks * kSmallBlock};
}

}  // namespace
}  // namespace fasthash
