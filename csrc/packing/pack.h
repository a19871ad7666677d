// Packing, written once over a function `positive_byte(const Word*, Word largest, bool& nan)` that each level's file
// overloads for int8_t, uint8_t, int16_t, int32_t and int64_t before it includes this one: the sign bits of eight words
// as a byte. A word whose magnitude bits exceed `largest` is a NaN.
#include "kernel.h"

namespace fasthash {
namespace {

template <class Word>
bool pack_words(const void* x, Word largest, int64_t n, uint8_t* out) {
    const Word* words = static_cast<const Word*>(x);
    bool nan = false;
    for (; n >= 8; n -= 8, words += 8) *out++ = positive_byte(words, largest, nan);
    if (n > 0) {
        Word last[8] = {};
        for (int64_t i = 0; i < n; ++i) last[i] = words[i];
        *out = positive_byte(last, largest, nan);
    }
    return nan;
}

bool pack(const void* x, Element element, int64_t n, uint8_t* out) {
    switch (element) {
        case Element::uint8: return pack_words<uint8_t>(x, UINT8_MAX, n, out);
        case Element::int8: return pack_words<int8_t>(x, INT8_MAX, n, out);
        case Element::int16: return pack_words<int16_t>(x, INT16_MAX, n, out);
        case Element::int32: return pack_words<int32_t>(x, INT32_MAX, n, out);
        case Element::int64: return pack_words<int64_t>(x, INT64_MAX, n, out);
        case Element::float16: return pack_words<int16_t>(x, 0x7c00, n, out);
        case Element::bfloat16: return pack_words<int16_t>(x, 0x7f80, n, out);
        case Element::float32: return pack_words<int32_t>(x, 0x7f800000, n, out);
        case Element::float64: return pack_words<int64_t>(x, 0x7ff0000000000000, n, out);
    }
    return false;
}

}  // namespace
}  // namespace fasthash
