#include <immintrin.h>

#include <cstdint>

namespace fasthash {
namespace {

inline uint8_t positive_byte(const uint8_t* x, uint8_t, bool&) {
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return static_cast<uint8_t>(_mm_test_epi8_mask(words, words));
}

inline uint8_t positive_byte(const int8_t* x, int8_t, bool&) {
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return static_cast<uint8_t>(_mm_cmpgt_epi8_mask(words, _mm_setzero_si128()));
}

inline uint8_t positive_byte(const int16_t* x, int16_t largest, bool& nan) {
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
    nan |= _mm_cmpgt_epi16_mask(_mm_and_si128(words, _mm_set1_epi16(INT16_MAX)), _mm_set1_epi16(largest)) != 0;
    return _mm_cmpgt_epi16_mask(words, _mm_setzero_si128());
}

inline uint8_t positive_byte(const int32_t* x, int32_t largest, bool& nan) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    nan |= _mm256_cmpgt_epi32_mask(_mm256_and_si256(words, _mm256_set1_epi32(INT32_MAX)), _mm256_set1_epi32(largest)) != 0;
    return _mm256_cmpgt_epi32_mask(words, _mm256_setzero_si256());
}

inline uint8_t positive_byte(const int64_t* x, int64_t largest, bool& nan) {
    const __m512i words = _mm512_loadu_si512(x);
    nan |= _mm512_cmpgt_epi64_mask(_mm512_and_si512(words, _mm512_set1_epi64(INT64_MAX)), _mm512_set1_epi64(largest)) != 0;
    return _mm512_cmpgt_epi64_mask(words, _mm512_setzero_si512());
}

}  // namespace
}  // namespace fasthash

#include "pack.h"

namespace fasthash {

PackingKernel packing_kernel_avx512() { return {pack}; }

}  // namespace fasthash
