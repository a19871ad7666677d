#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

#include "../both_precisions.h"

namespace fasthash {

enum class Isa;

template <class T>
struct CamelROOMFunctions {
    // The sum of the squares of each of the rows x [n, m], in C order, goes to out [n].
    void (*rows)(const T* x, int64_t n, int64_t m, T* out);
};

using CamelROOMKernel = BothPrecisions<CamelROOMFunctions>;

CamelROOMKernel ROOM_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
