// Products of small matrices, whose operands fit the caches, on one thread and without a call to BLAS. A tile of c stays in
// registers while the depth is walked; the columns of b that it needs are packed, zero-padded, where that pays. Each level's
// file includes this one: everything is in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "matrix_product.h"
#include "registers.h"

namespace fasthash {
namespace {

template <class T>
struct Register;

template <>
struct Register<float> {
    typedef float Values __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(4), may_alias));
    typedef int32_t Places __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));
};

template <>
struct Register<double> {
    typedef double Values __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(8), may_alias));
    typedef int64_t Places __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));
};

template <class T>
class SmallGemm {
    using Values = typename Register<T>::Values;
    using Places = typename Register<T>::Places;

public:
    static constexpr int kLanes = FASTHASH_REGISTER_BYTES / static_cast<int>(sizeof(T));
    static constexpr int kPanel = 2 * kLanes;                                  // columns of a tile
    static constexpr int kMaxRows = FASTHASH_REGISTER_BYTES == 64 ? 14 : 6;    // of a tile: 28 of 32 registers, or 12 of 16
    static constexpr int64_t kMaxDepth = 256 * 64 / FASTHASH_REGISTER_BYTES;   // a packed panel is 32 KB

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
            transpose(square);
            for (int j = 0; j < kLanes; ++j) store(packed + (i + j) * kPanel, square[j]);
        }
        for (; i < p.depth; ++i) {
            for (int j = 0; j < kLanes; ++j) packed[i * kPanel + j] = j < columns ? b[j * p.b_column + i] : T{0};
        }
    }

    // Exchanges the off-diagonal quarters of ever larger squares.
    static void transpose(Values (&square)[kLanes]) {
#pragma GCC unroll 4
        for (int size = 1; size < kLanes; size *= 2) {
            Places upper = {}, lower = {};
#pragma GCC unroll 16
            for (int j = 0; j < kLanes; ++j) {
                upper[j] = j & size ? kLanes + j - size : j;
                lower[j] = j & size ? kLanes + j : j + size;
            }
#pragma GCC unroll 16
            for (int i = 0; i < kLanes; ++i) {
                if (i & size) continue;
                const Values above = square[i], below = square[i + size];
                square[i] = __builtin_shuffle(above, below, upper);
                square[i + size] = __builtin_shuffle(above, below, lower);
            }
        }
    }

    // Tiles of nearly equal height: a low one would not keep the multipliers busy.
    template <int kVectors>
    static void blocks(const Product<T>& p, int64_t first, int width, const T* b, int64_t b_row) {
        const int64_t n_blocks = (p.rows + kMaxRows - 1) / kMaxRows;
        int64_t row = 0;
        for (int64_t block = 0; block < n_blocks; ++block) {
            const int64_t height = (p.rows - row) / (n_blocks - block);
            tiles<kVectors, kMaxRows>(static_cast<int>(height), p, row, first, width, b, b_row);
            row += height;
        }
    }

    template <int kVectors, int kRows>
    static void tiles(int height, const Product<T>& p, int64_t row, int64_t first, int width, const T* b, int64_t b_row) {
        if constexpr (kRows > 0) {
            if (height == kRows) return tile<kVectors, kRows>(p, row, first, width, b, b_row);
            tiles<kVectors, kRows - 1>(height, p, row, first, width, b, b_row);
        }
    }

    template <int kVectors, int kRows>
    static void tile(const Product<T>& p, int64_t row, int64_t first, int width, const T* b, int64_t b_row) {
        constexpr int kBases = (kRows + 2) / 3;  // an address reaches three rows, so that all of them fit in registers
        const T* bases[kBases];
        for (int i = 0; i < kBases; ++i) bases[i] = p.a + (row + 3 * i) * p.a_row;
        const int64_t a_row = p.a_row, a_column = p.a_column;
        Values sums[kRows][kVectors] = {};
        for (int64_t depth = p.depth; depth > 0; --depth) {
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
        T* c = p.c + row * p.c_row + first;
        const T* start = p.start ? p.start + row * p.start_row + first : nullptr;
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const int columns = width - v * kLanes;
                T* to = c + i * p.c_row + v * kLanes;
                const T* from = start ? start + i * p.start_row + v * kLanes : nullptr;
                const Values sum = sums[i][v] * p.alpha;
                if (columns >= kLanes) {
                    store(to, from ? load(from) + sum : sum);
                } else {
                    for (int j = 0; j < columns; ++j) to[j] = from ? from[j] + sum[j] : sum[j];
                }
            }
        }
    }

    static Values load(const T* from) { return *reinterpret_cast<const Values*>(from); }
    static void store(T* to, Values values) { *reinterpret_cast<Values*>(to) = values; }
};

}  // namespace
}  // namespace fasthash
