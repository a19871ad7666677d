// The rotation from the reflections' vectors and the way back for gradients; in an anonymous namespace.
#pragma once

#include "../householder/reflections.h"
#include "../rounding.h"
#include "kernel.h"

namespace fasthash {
namespace {

// Blocks of rows, for triangles: what is known to be zero, or not needed, is skipped.
template <class F>
void for_blocks(int64_t n, const F& f) {
    constexpr int64_t kRows = 64;
    for (int64_t first = 0; first < n; first += kRows) f(first, n - first < kRows ? n - first : kRows);
}

// Inverts the upper triangle of s [n, n], which is destroyed, into `inverse`, whose lower triangle is not touched; both have rows
// of `stride`. From the inverses A' and C' of the diagonal blocks of [A B; 0 C], that of B's place is -A' B C'.
void invert_upper(float* s, int64_t n, int64_t stride, float* inverse, Multiply<float> multiply) {
    if (n <= kTriangle) return invert_triangle(s, static_cast<int>(n), stride, inverse);
    const int64_t half = round_up(n / 2, kLanes<float>), rest = n - half, diagonal = half * stride + half;
    float* const corner = inverse + half;
    invert_upper(s, half, stride, inverse, multiply);
    invert_upper(s + diagonal, rest, stride, inverse + diagonal, multiply);
    multiply({half, rest, half, inverse, stride, 1, s + half, stride, 1, -1, nullptr, 0, corner, stride});
    for (int64_t i = 0; i < half; ++i) {
        __builtin_memcpy(s + i * stride + half, corner + i * stride, static_cast<size_t>(rest) * sizeof(float));
    }
    multiply({half, rest, rest, s + half, stride, 1, inverse + diagonal, stride, 1, 1, nullptr, 0, corner, stride});
}

// With W the rows of v divided by their lengths, S the upper triangle of W W^T with half of the diagonal and M = S^-1 W:
// U^T = I - M^T W.
void rotation(const H2QState& state) {
    const int64_t k = state.k, size = k * k;
    float* const w = state.matrices[kUnit];
    float* const s = state.matrices[kScratch];
    float* const inverse = state.matrices[kTriangleInverse];
    float* const m = state.matrices[kScaled];
    float* const rotation_t = state.matrices[kRotation];
    unit_rows(state.v, k, k, w, state.lengths);
    for_blocks(k, [&](int64_t first, int64_t rows) {
        const float* from = w + first * k;
        state.multiply({rows, k - first, k, from, k, 1, from, 1, k, 1, nullptr, 0, s + first * k + first, k});
    });
    for (int64_t i = 0; i < k; ++i) s[i * k + i] *= 0.5F;
    __builtin_memset(inverse, 0, static_cast<size_t>(size) * sizeof(float));
    invert_upper(s, k, k, inverse, state.multiply);
    for_blocks(k, [&](int64_t first, int64_t rows) {
        state.multiply({rows, k, k - first, inverse + first * k + first, k, 1, w + first * k, k, 1, 1, nullptr, 0, m + first * k, k});
    });
    __builtin_memset(rotation_t, 0, static_cast<size_t>(size) * sizeof(float));
    for (int64_t i = 0; i < k; ++i) rotation_t[i * k + i] = 1;
    state.multiply({k, k, k, m, 1, k, w, k, 1, -1, rotation_t, k, rotation_t, k});
}

// The gradient in W, [k, k], of a function of U whose gradient in U^T is `slope`: with T = S^-T W slope^T and
// A the upper triangle of T M^T with half of the diagonal, it is (A + A^T) W - M slope - T.
void pull_back(const float* slope, const H2QState& state, float* scratch, float* gradient) {
    const int64_t k = state.k;
    const float* const w = state.matrices[kUnit];
    const float* const inverse = state.matrices[kTriangleInverse];
    const float* const m = state.matrices[kScaled];
    state.multiply({k, k, k, w, k, 1, slope, 1, k, 1, nullptr, 0, scratch, k});
    for_blocks(k, [&](int64_t first, int64_t rows) {
        state.multiply({rows, k, first + rows, inverse + first, 1, k, scratch, k, 1, -1, nullptr, 0, gradient + first * k, k});
    });
    for_blocks(k, [&](int64_t first, int64_t rows) {
        state.multiply(
            {rows, k - first, k, gradient + first * k, k, 1, m + first * k, 1, k, -1, nullptr, 0, scratch + first * k + first, k});
    });
    for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = i + 1; j < k; ++j) scratch[j * k + i] = scratch[i * k + j];
    }
    state.multiply({k, k, k, m, k, 1, slope, k, 1, -1, gradient, k, gradient, k});
    state.multiply({k, k, k, scratch, k, 1, w, k, 1, 1, gradient, k, gradient, k});
}

}  // namespace
}  // namespace fasthash
