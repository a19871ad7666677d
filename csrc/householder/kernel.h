#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

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

struct HouseholderKernel {
    HouseholderFunctions<float> single_precision;
    HouseholderFunctions<double> double_precision;
};

HouseholderKernel householder_kernel(Isa isa);

HouseholderKernel householder_kernel_baseline();
HouseholderKernel householder_kernel_avx2();
HouseholderKernel householder_kernel_avx512();

}  // namespace fasthash
