#pragma once

#include <cstdint>
#include <functional>

#include "../matrix_product/kernel.h"
#include "kernel.h"

namespace fasthash {

// Embeddings x [n, d] where they lie, strides in elements; hyperplanes [d, n_bits] in C order; and what is subtracted from
// the projection on each, offset [n_bits], or null.
template <class T>
struct Projections {
    const T* x;
    int64_t n, d, x_row, x_column;
    const T* hyperplanes;
    int64_t n_bits;
    const T* offset;
};

// Writes the signs of each row's projections as a code, [n, ceil(n_bits / 8)], without keeping the projections.
// Returns the place of the first NaN among them, in C order, or -1.
template <class T>
int64_t pack_projections(const Projections<T>& projections, uint8_t* codes, Multiply<T> multiply, const PackingKernel& kernel, int threads,
                         const std::function<bool()>& interrupted);

}  // namespace fasthash
