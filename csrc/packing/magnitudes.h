// What the AVX levels keep of the magnitude bits they have seen; a level's file adds int64_t's.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace fasthash {
namespace {

template <class Word>
struct Magnitudes {};

template <>
struct Magnitudes<int16_t> {
    __m128i largest;
};

template <>
struct Magnitudes<int32_t> {
    __m256i largest;
};

}  // namespace
}  // namespace fasthash
