#include <cstdint>

namespace fasthash {
namespace {

template <class Word>
struct Magnitudes {
    Word largest;
};

template <class Word>
inline uint8_t positive_byte(const Word* x, Magnitudes<Word>& seen) {
    constexpr Word magnitude = static_cast<Word>(-1) > 0 ? static_cast<Word>(-1) : static_cast<Word>(~(Word{1} << (8 * sizeof(Word) - 1)));
    uint8_t byte = 0;
    for (int i = 0; i < 8; ++i) {
        byte = static_cast<uint8_t>(byte | (x[i] > 0) << i);
        const Word bits = static_cast<Word>(x[i] & magnitude);
        seen.largest = bits > seen.largest ? bits : seen.largest;
    }
    return byte;
}

template <class Word>
bool exceed(Magnitudes<Word> seen, Word largest) {
    return seen.largest > largest;
}

}  // namespace
}  // namespace fasthash

#include "pack.h"

namespace fasthash {

PackingKernel packing_kernel_baseline() { return {pack}; }

}  // namespace fasthash
