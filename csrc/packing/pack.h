// Packing, written once over what each level's file defines before it includes this one, for int8_t, uint8_t, int16_t, int32_t
// and int64_t:
//   Magnitudes<Word>                          what has been seen of the words' magnitude bits, at first nothing
//   positive_byte(const Word*, Magnitudes&)   the signs of eight words as a byte
//   exceed(Magnitudes, Word largest)          whether a word's magnitude bits exceeded `largest`, as a NaN's do
#pragma once

#include "kernel.h"

namespace fasthash {
namespace {

template <class Word>
bool pack_words(const void* x, Word largest, int64_t rows, int64_t n, uint8_t* out, int64_t out_row) {
    const Word* words = static_cast<const Word*>(x);
    Magnitudes<Word> seen{};
    if (n % 8 == 0 && out_row == n / 8) {
        n *= rows;  // rows of whole bytes, one after the other, are one
        rows = 1;
    }
    for (int64_t row = 0; row < rows; ++row) {
        uint8_t* bytes = out + row * out_row;
        int64_t left = n;
        for (; left >= 8; left -= 8, words += 8) *bytes++ = positive_byte(words, seen);
        if (left > 0) {
            Word last[8] = {};
            for (int64_t i = 0; i < left; ++i) last[i] = *words++;
            *bytes = positive_byte(last, seen);
        }
    }
    return exceed(seen, largest);
}

bool pack(const void* x, Element element, int64_t rows, int64_t n, uint8_t* out, int64_t out_row) {
    switch (element) {
        case Element::uint8: return pack_words<uint8_t>(x, UINT8_MAX, rows, n, out, out_row);
        case Element::int8: return pack_words<int8_t>(x, INT8_MAX, rows, n, out, out_row);
        case Element::int16: return pack_words<int16_t>(x, INT16_MAX, rows, n, out, out_row);
        case Element::int32: return pack_words<int32_t>(x, INT32_MAX, rows, n, out, out_row);
        case Element::int64: return pack_words<int64_t>(x, INT64_MAX, rows, n, out, out_row);
        case Element::float16: return pack_words<int16_t>(x, 0x7c00, rows, n, out, out_row);
        case Element::bfloat16: return pack_words<int16_t>(x, 0x7f80, rows, n, out, out_row);
        case Element::float32: return pack_words<int32_t>(x, 0x7f800000, rows, n, out, out_row);
        case Element::float64: return pack_words<int64_t>(x, 0x7ff0000000000000, rows, n, out, out_row);
    }
    return false;
}

}  // namespace
}  // namespace fasthash
