#pragma once

#include <cstdint>
#include <functional>

#include "kernel.h"

namespace fasthash {

// Rows x [n, n_bits], in C order, of elements of `element_bytes`.
struct Elements {
    const uint8_t* x;
    Element element;
    int64_t element_bytes, n, n_bits;
};

// Writes the signs of each row as a code, [n, ceil(n_bits / 8)]. Returns whether there was a NaN.
bool pack_bits(const Elements& elements, uint8_t* codes, const PackingKernel& kernel, int threads,
               const std::function<bool()>& interrupted);

}  // namespace fasthash
