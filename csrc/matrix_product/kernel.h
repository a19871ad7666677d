#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

#include "../both_precisions.h"

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

using MatrixProductKernel = BothPrecisions<Multiply>;

MatrixProductKernel matrix_product_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
