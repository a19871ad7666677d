// Products of small matrices, whose operands fit the caches, on one thread and without a call to BLAS. A tile of c stays in
// registers while the depth is walked; the columns of b that it needs are packed, zero-padded, where that pays. Each level's
// file includes this one: everything is in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "../registers.h"
#include "../rounding.h"
#include "kernel.h"
#include "transpose.h"

namespace fasthash {
namespace {

template <class T>
class SmallGemm {
    using Values = typename Register<T>::Values;
    static constexpr int kLanes = fasthash::kLanes<T>;

public:
    static constexpr int kPanel = 2 * kLanes;                                 // columns of a tile
    static constexpr int kMaxRows = FASTHASH_REGISTER_BYTES == 64 ? 14 : 6;   // of a tile: 28 of 32 registers, or 12 of 16
    static constexpr int64_t kMaxDepth = 256 * 64 / FASTHASH_REGISTER_BYTES;  // a packed panel is 32 KB

    static void multiply(const Product<T>& whole) {
        Product<T> part = whole;
        int64_t walked = 0;
        do {  // once at least: without depth, c is still to be written
            part.depth = whole.depth - walked < kMaxDepth ? whole.depth - walked : kMaxDepth;
            part.a = whole.a + walked * whole.a_column;
            part.b = whole.b + walked * whole.b_row;
            panels(part);
            part.start = whole.c;
            part.start_row = whole.c_row;
            walked += part.depth;
        } while (walked < whole.depth);
    }

private:
    static void panels(const Product<T>& p) {
        alignas(64) T packed[kMaxDepth * kPanel];
        for (int64_t first = 0; first < p.columns; first += kPanel) {
            const int64_t left = p.columns - first;
            const int width = left < kPanel ? static_cast<int>(left) : kPanel;
            const T* b = p.b + first * p.b_column;
            int64_t b_row = p.b_row;
            const bool in_place = p.b_column == 1 && width % kLanes == 0 && (p.rows <= 2 * kMaxRows || b_row <= 2 * kPanel);
            if (!in_place) {
                pack(p, b, width, packed);
                b = packed;
                b_row = kPanel;
            }
            width > kLanes ? blocks<2>(p, first, width, b, b_row) : blocks<1>(p, first, width, b, b_row);
        }
    }

    static void pack(const Product<T>& p, const T* b, int width, T* packed) {
        if (p.b_column == 1) {
            for (int64_t i = 0; i < p.depth; ++i) {
                T* to = packed + i * kPanel;
                const T* from = b + i * p.b_row;
                if (width == kPanel) {
                    store(to, load(from));
                    store(to + kLanes, load(from + kLanes));
                } else {
                    for (int j = 0; j < kPanel; ++j) to[j] = j < width ? from[j] : T{0};
                }
            }
            return;
        }
        for (int half = 0; half < 2; ++half) {
            const int columns = width - half * kLanes < kLanes ? width - half * kLanes : kLanes;
            if (columns > 0) pack_transposed(p, b + half * kLanes * p.b_column, columns, packed + half * kLanes);
        }
    }

    // Takes up to kLanes columns of b, each contiguous.
    static void pack_transposed(const Product<T>& p, const T* b, int columns, T* packed) {
        int64_t i = 0;
        for (; i + kLanes <= p.depth; i += kLanes) {
            Values square[kLanes];
            for (int j = 0; j < kLanes; ++j) square[j] = j < columns ? load(b + j * p.b_column + i) : Values{};
            transpose<T>(square);
            for (int j = 0; j < kLanes; ++j) store(packed + (i + j) * kPanel, square[j]);
        }
        for (; i < p.depth; ++i) {
            for (int j = 0; j < kLanes; ++j) packed[i * kPanel + j] = j < columns ? b[j * p.b_column + i] : T{0};
        }
    }

    // What a tile is made from and where it goes.
    struct Tile {
        const T* a;
        int64_t a_row, a_column;
        const T* b;
        int64_t b_row, depth;
        T alpha;
        const T* start;  // or null
        int64_t start_row;
        T* c;
        int64_t c_row;
        int last_lanes;  // that exist of its last vectors
    };

    // Tiles of nearly equal height: a low one would not keep the multipliers busy.
    template <int kVectors>
    static void blocks(const Product<T>& p, int64_t first, int width, const T* b, int64_t b_row) {
        Tile tile = {p.a,         p.a_row,     p.a_column, b,
                     b_row,       p.depth,     p.alpha,    p.start ? p.start + first : nullptr,
                     p.start_row, p.c + first, p.c_row,    width - (kVectors - 1) * kLanes};
        int64_t rows = p.rows;
        for (int64_t n_blocks = ceil_div(p.rows, kMaxRows); n_blocks > 0; --n_blocks) {
            const int64_t height = rows / n_blocks;
            tiles<kVectors, kMaxRows>(static_cast<int>(height), tile);
            rows -= height;
            tile.a += height * tile.a_row;
            tile.c += height * tile.c_row;
            if (tile.start) tile.start += height * tile.start_row;
        }
    }

    template <int kVectors, int kRows>
    static void tiles(int height, const Tile& tile) {
        if constexpr (kRows > 0) {
            if (height == kRows) return multiply_tile<kVectors, kRows>(tile);
            tiles<kVectors, kRows - 1>(height, tile);
        }
    }

    // Not inlined, or tiles would share what registers a loop around them all leaves.
    template <int kVectors, int kRows>
    __attribute__((noinline)) static void multiply_tile(const Tile& tile) {
        constexpr int kBases = (kRows + 2) / 3;  // an address reaches three rows, so that all of them fit in registers
        const int64_t a_row = tile.a_row, a_column = tile.a_column, b_row = tile.b_row;
        const T* b = tile.b;
        const T* bases[kBases];
        for (int i = 0; i < kBases; ++i) bases[i] = tile.a + 3 * i * a_row;
        Values sums[kRows][kVectors] = {};
        for (int64_t depth = tile.depth; depth > 0; --depth) {
            Values factors[kVectors];
            for (int v = 0; v < kVectors; ++v) factors[v] = load(b + v * kLanes);
            b += b_row;
#pragma GCC unroll 16
            for (int i = 0; i < kRows; ++i) {
                const T* a = bases[i / 3] + i % 3 * a_row;
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) sums[i][v] += *a * factors[v];
            }
#pragma GCC unroll 16
            for (int i = 0; i < kBases; ++i) bases[i] += a_column;
        }
        tile.last_lanes == kLanes ? write<false>(tile, sums) : write<true>(tile, sums);
    }

    template <bool kPartial, int kRows, int kVectors>
    static void write(const Tile& tile, const Values (&sums)[kRows][kVectors]) {
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const bool partial = kPartial && v == kVectors - 1;
                Values sum = sums[i][v] * tile.alpha;
                if (tile.start) {
                    const T* const start = tile.start + i * tile.start_row + v * kLanes;
                    sum += partial ? load(start, tile.last_lanes) : load(start);
                }
                T* const c = tile.c + i * tile.c_row + v * kLanes;
                partial ? store(c, sum, tile.last_lanes) : store(c, sum);
            }
        }
    }
};

template <class T>
void multiply(const Product<T>& product) {
    SmallGemm<T>::multiply(product);
}

}  // namespace
}  // namespace fasthash
