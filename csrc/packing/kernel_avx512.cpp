#include "magnitudes.h"

namespace fasthash {
namespace {

template <>
struct Magnitudes<int64_t> {
    __m512i largest;
};

inline uint8_t positive_byte(const uint8_t* x, Magnitudes<uint8_t>&) {
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return static_cast<uint8_t>(_mm_test_epi8_mask(words, words));
}

inline uint8_t positive_byte(const int8_t* x, Magnitudes<int8_t>&) {
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return static_cast<uint8_t>(_mm_cmpgt_epi8_mask(words, _mm_setzero_si128()));
}

inline uint8_t positive_byte(const int16_t* x, Magnitudes<int16_t>& seen) {
    const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
    seen.largest = _mm_max_epi16(seen.largest, _mm_and_si128(words, _mm_set1_epi16(INT16_MAX)));
    return _mm_cmpgt_epi16_mask(words, _mm_setzero_si128());
}

inline uint8_t positive_byte(const int32_t* x, Magnitudes<int32_t>& seen) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    seen.largest = _mm256_max_epi32(seen.largest, _mm256_and_si256(words, _mm256_set1_epi32(INT32_MAX)));
    return _mm256_cmpgt_epi32_mask(words, _mm256_setzero_si256());
}

inline uint8_t positive_byte(const int64_t* x, Magnitudes<int64_t>& seen) {
    const __m512i words = _mm512_loadu_si512(x);
    seen.largest = _mm512_max_epi64(seen.largest, _mm512_and_si512(words, _mm512_set1_epi64(INT64_MAX)));
    return _mm512_cmpgt_epi64_mask(words, _mm512_setzero_si512());
}

template <class Word>
bool exceed(Magnitudes<Word>, Word) {
    return false;
}

bool exceed(Magnitudes<int16_t> seen, int16_t largest) { return _mm_cmpgt_epi16_mask(seen.largest, _mm_set1_epi16(largest)) != 0; }

bool exceed(Magnitudes<int32_t> seen, int32_t largest) { return _mm256_cmpgt_epi32_mask(seen.largest, _mm256_set1_epi32(largest)) != 0; }

bool exceed(Magnitudes<int64_t> seen, int64_t largest) { return _mm512_cmpgt_epi64_mask(seen.largest, _mm512_set1_epi64(largest)) != 0; }

}  // namespace
}  // namespace fasthash

#include "pack.h"

namespace fasthash {

PackingKernel packing_kernel_avx512() { return {pack}; }

}  // namespace fasthash
