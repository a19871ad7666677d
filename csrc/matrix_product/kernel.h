#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

namespace fasthash {

enum class Isa;

// c = start + alpha a b, for a [rows, depth], b [depth, columns] and c [rows, columns]. Strides are in elements: element
// (i, j) of a is a[i * a_row + j * a_column]. Those of b are free too, but one of the two is 1; rows of c and start are
// contiguous. A transposed operand has its strides exchanged. `start` may be c, or null for zeros.
template <class T>
struct Product {
    int64_t rows, columns, depth;
    const T* a;
    int64_t a_row, a_column;
    const T* b;
    int64_t b_row, b_column;
    T alpha;
    const T* start;
    int64_t start_row;
    T* c;
    int64_t c_row;
};

template <class T>
using Multiply = void (*)(const Product<T>& product);

struct MatrixProductKernel {
    Multiply<float> single_precision;
    Multiply<double> double_precision;

    template <class T>
    Multiply<T> multiply() const {
        if constexpr (sizeof(T) == sizeof(float)) return single_precision;
        else return double_precision;
    }
};

MatrixProductKernel matrix_product_kernel(Isa isa);

MatrixProductKernel matrix_product_kernel_baseline();
MatrixProductKernel matrix_product_kernel_avx2();
MatrixProductKernel matrix_product_kernel_avx512();

}  // namespace fasthash
