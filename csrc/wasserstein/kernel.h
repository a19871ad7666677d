#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

#include "../both_precisions.h"

namespace fasthash {

enum class Isa;

constexpr int kMaxRowBytes = 64;

// A block of as many columns as a register holds, and for each the two-point law that it is compared with: the n_low smallest
// values go to `low`, the next one gives the share `split` of its mass to `low` and the rest to `high`, all others go to `high`.
// Equal values are taken in the order of their rows.
template <class T>
struct TwoPointBlock {
    const T* x;            // [n, lanes], aligned to kMaxRowBytes
    int64_t n;             // at least 1
    const int64_t* n_low;  // [lanes], from 0 to n
    double split;          // from 0 to 1; 0 where an n_low is n
    T low, high;
    double p;      // at least 1
    double* cost;  // [lanes], to which the sum over rows of |x - target|^p is added
    T* gradient;   // [n, lanes], out: the derivative of the cost times `scale`; null if not wanted
    int64_t gradient_stride;
    T scale;
};

// Where a block's columns are parted, and how far `rows` has come: the level's registers, as they lie in memory.
struct alignas(kMaxRowBytes) TwoPointSplit {
    unsigned char registers[6 * kMaxRowBytes];
};

template <class T>
struct TwoPointFunctions {
    void (*part)(const TwoPointBlock<T>& block, TwoPointSplit& split);
    // Costs and gradients of rows [first, last); the calls for a block go through its rows in order.
    void (*rows)(const TwoPointBlock<T>& block, TwoPointSplit& split, int64_t first, int64_t last);
};

struct WassersteinKernel {
    int row_bytes;  // of a register: lanes times the size of an element
    BothPrecisions<TwoPointFunctions> two_point;
};

WassersteinKernel wasserstein_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
