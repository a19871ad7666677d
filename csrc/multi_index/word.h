#pragma once

// Included by files compiled for one processor level each, too, so in an anonymous namespace.
#include <cstdint>

namespace fasthash {
namespace {

inline uint64_t load_word(const uint8_t* bytes) {
    uint64_t word;
    __builtin_memcpy(&word, bytes, sizeof word);
    return word;
}

// All of a code shorter than a word, zeros after it.
inline uint64_t load_short(const uint8_t* code, int64_t n_bytes) {
    uint64_t word = 0;
    for (int64_t i = 0; i < n_bytes; ++i) word |= uint64_t{code[i]} << 8 * i;
    return word;
}

// The word at a byte of a code, as the keys are cut from it.
inline uint64_t load_word(const uint8_t* code, int64_t n_bytes, int64_t byte) {
    return n_bytes < 8 ? load_short(code, n_bytes) : load_word(code + byte);
}

}  // namespace
}  // namespace fasthash
