#include <immintrin.h>

#include <cstdint>

namespace fasthash {
namespace {

inline uint8_t positive_byte(const uint8_t* x, uint8_t, bool&) {
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return static_cast<uint8_t>(~_mm_movemask_epi8(_mm_cmpeq_epi8(words, _mm_setzero_si128())));
}

inline uint8_t positive_byte(const int8_t* x, int8_t, bool&) {
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return static_cast<uint8_t>(_mm_movemask_epi8(_mm_cmpgt_epi8(words, _mm_setzero_si128())));
}

inline uint8_t positive_byte(const int16_t* x, int16_t largest, bool& nan) {
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
    const __m128i magnitude = _mm_and_si128(words, _mm_set1_epi16(INT16_MAX));
    nan |= _mm_movemask_epi8(_mm_cmpgt_epi16(magnitude, _mm_set1_epi16(largest))) != 0;
    const __m128i positive = _mm_cmpgt_epi16(words, _mm_setzero_si128());
    return static_cast<uint8_t>(_mm_movemask_epi8(_mm_packs_epi16(positive, _mm_setzero_si128())));
}

inline uint8_t positive_byte(const int32_t* x, int32_t largest, bool& nan) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    const __m256i magnitude = _mm256_and_si256(words, _mm256_set1_epi32(INT32_MAX));
    nan |= _mm256_movemask_epi8(_mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(largest))) != 0;
    return static_cast<uint8_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(words, _mm256_setzero_si256()))));
}

inline unsigned positive_nibble(const int64_t* x, int64_t largest, bool& nan) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    const __m256i magnitude = _mm256_and_si256(words, _mm256_set1_epi64x(INT64_MAX));
    nan |= _mm256_movemask_epi8(_mm256_cmpgt_epi64(magnitude, _mm256_set1_epi64x(largest))) != 0;
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(words, _mm256_setzero_si256()))));
}

inline uint8_t positive_byte(const int64_t* x, int64_t largest, bool& nan) {
    return static_cast<uint8_t>(positive_nibble(x, largest, nan) | positive_nibble(x + 4, largest, nan) << 4);
}

}  // namespace
}  // namespace fasthash

#include "pack.h"

namespace fasthash {

PackingKernel packing_kernel_avx2() { return {pack}; }

}  // namespace fasthash
