// Each level's file includes this one; everything is in an anonymous namespace, so that no level's code can stand in for
// another's at link time.
#pragma once

#include "../registers.h"
#include "kernel.h"

namespace fasthash {
namespace {

template <class T>
struct SafeSquares;  // sums of squares between these have lost nothing to the ends of the range

template <>
struct SafeSquares<float> {
    static constexpr float kLeast = 1e-24F, kMost = 1e30F;
};

template <>
struct SafeSquares<double> {
    static constexpr double kLeast = 1e-200, kMost = 1e200;
};

template <class T>
T sum_of_squares(const T* row, int64_t k) {
    using Values = typename Register<T>::Values;
    Values sums = {};
    int64_t i = 0;
    for (; i + kLanes<T> <= k; i += kLanes<T>) {
        const Values x = load(row + i);
        sums += x * x;
    }
    T sum = 0;
    for (int lane = 0; lane < kLanes<T>; ++lane) sum += sums[lane];
    for (; i < k; ++i) sum += row[i] * row[i];
    return sum;
}

template <class T>
T root(T x) {
    if constexpr (sizeof(T) == sizeof(float)) return __builtin_sqrtf(x);
    else return __builtin_sqrt(x);
}

template <class T>
void unit_rows(const T* v, int64_t rows, int64_t k, T* w, T* lengths) {
    for (int64_t row = 0; row < rows; ++row, v += k, w += k) {
        T squares = sum_of_squares(v, k), scale = 1;
        if (squares >= SafeSquares<T>::kLeast && squares <= SafeSquares<T>::kMost) {
            const T inverse = 1 / root(squares);
            for (int64_t i = 0; i < k; ++i) w[i] = v[i] * inverse;
        } else {
            scale = 0;
            for (int64_t i = 0; i < k; ++i) {
                const T magnitude = v[i] < 0 ? -v[i] : v[i];
                if (!(magnitude <= scale)) scale = magnitude;  // a NaN too
            }
            for (int64_t i = 0; i < k; ++i) w[i] = v[i] / scale;
            squares = sum_of_squares(w, k);
            for (int64_t i = 0; i < k; ++i) w[i] /= root(squares);
        }
        lengths[row] = scale * root(squares);
    }
}

template <class T>
void invert_triangle(const T* s, int n, int64_t stride, T* inverse) {
    using Values = typename Register<T>::Values;
    constexpr int kLanes = fasthash::kLanes<T>, kVectors = kTriangle / kLanes;
    Values rows[kTriangle][kVectors];
    for (int i = n - 1; i >= 0; --i) {
        Values row[kVectors] = {};
        row[i / kLanes][i % kLanes] = 1;
        for (int j = i + 1; j < n; ++j) {
            for (int v = 0; v < kVectors; ++v) row[v] -= s[i * stride + j] * rows[j][v];
        }
        for (int v = 0; v < kVectors; ++v) rows[i][v] = row[v] / s[i * stride + i];
        for (int j = i; j < n; ++j) inverse[i * stride + j] = rows[i][j / kLanes][j % kLanes];
    }
}

template <class T>
HouseholderFunctions<T> householder_functions() {
    return {unit_rows<T>, invert_triangle<T>};
}

}  // namespace
}  // namespace fasthash
