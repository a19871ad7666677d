#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

#include "../both_precisions.h"

namespace fasthash {

enum class Isa;

constexpr int kTriangle = 32;  // the largest triangle that is inverted by substitution

template <class T>
struct HouseholderFunctions {
    // Divides each row of v [rows, k] by its length.
    void (*unit_rows)(const T* v, int64_t rows, int64_t k, T* w, T* lengths);
    // Inverts an upper triangle of n <= kTriangle rows, both of row stride `stride`; what is below is neither read nor written.
    void (*invert_triangle)(const T* s, int n, int64_t stride, T* inverse);
};

using HouseholderKernel = BothPrecisions<HouseholderFunctions>;

HouseholderKernel householder_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
