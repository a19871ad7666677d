#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

namespace fasthash {

enum class Isa;

// What is packed, by how its bits are read: floating-point numbers are positive when their bits are, as integers.
enum class Element { uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64 };

struct PackingKernel {
    // For each of the rows x [rows, n], in C order, writes bit i % 8 of out[i / 8] = (x[i] > 0) for i in [0, n), the rest of the
    // last byte zero; the next row's begin out_row bytes further. Returns whether there was a NaN.
    bool (*pack)(const void* x, Element element, int64_t rows, int64_t n, uint8_t* out, int64_t out_row);
};

PackingKernel packing_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
