#pragma once

#include <cstdint>
#include <functional>

#include "../matrix_product/kernel.h"
#include "kernel.h"

namespace fasthash {

// Rows x [n, k] and the product U of the reflections that the rows of v [l, k] stand for. All matrices are in C order.
// S is the upper triangle of W W^T with half of the diagonal, for the rows of v divided by their lengths, W; then
// U = I - W^T S^-1 W, and rows become x U^T = x - Q W with Q = x W^T S^-T. With `transpose`, which gives x U, it is S^-1.
template <class T>
struct Rotation {
    int64_t n, k, l;
    const T* x;  // null stands for the identity, of n = k rows
    const T* v;
    bool transpose;
};

struct RotationKernels {
    HouseholderKernel reflections;
    MatrixProductKernel products;
};

// Writes the rotated rows y [n, k], Q [n, l] and the inverse of S [l, l].
template <class T>
void householder_apply(const Rotation<T>& rotation, T* y, T* q, T* s_inverse, const RotationKernels& kernels, int threads,
                       const std::function<bool()>& interrupted);

// Writes the gradients in x, [n, k], unless dx is null, and in v, [l, k], from that in y and what householder_apply gave.
template <class T>
void householder_backward(const Rotation<T>& rotation, const T* dy, const T* q, const T* s_inverse, T* dx, T* dv,
                          const RotationKernels& kernels, int threads, const std::function<bool()>& interrupted);

}  // namespace fasthash
