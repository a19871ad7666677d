#pragma once

#include <cstdint>

#include "rotation.h"
#include "row_blocks.h"

namespace fasthash {

// Writes the inverse of S [l, l], the upper triangle of W W^T with half of the diagonal, for rows W [l, k] of length 1; zeros below.
template <class T>
void invert_gram_triangle(const T* w, int64_t l, int64_t k, const RotationKernels& kernels, const RowBlocks& blocks, T* s_inverse);

}  // namespace fasthash
