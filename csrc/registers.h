#pragma once

// Vectors as wide as the registers of the level that a file is compiled for, by the extensions that GCC and Clang share.
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define FASTHASH_REGISTER_BYTES 64
#elif defined(__AVX2__)
#define FASTHASH_REGISTER_BYTES 32
#else
#define FASTHASH_REGISTER_BYTES 16
#endif

namespace fasthash {
namespace {

template <class T>
struct Register;

template <>
struct Register<float> {
    using Integer = int32_t;
    typedef float Values __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(4), may_alias));
    typedef Integer Integers __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));  // also truths: -1 or 0
};

template <>
struct Register<double> {
    using Integer = int64_t;
    typedef double Values __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(8), may_alias));
    typedef Integer Integers __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));
};

template <class T>
constexpr int kLanes = FASTHASH_REGISTER_BYTES / static_cast<int>(sizeof(T));

template <class T>
typename Register<T>::Values load(const T* from) {
    return *reinterpret_cast<const typename Register<T>::Values*>(from);
}

template <class T>
void store(T* to, typename Register<T>::Values values) {
    *reinterpret_cast<typename Register<T>::Values*>(to) = values;
}

// The first n lanes, from 1 to all of them, alone are read, and the others are 0; or they alone are written.
#if defined(__AVX512F__)
inline __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Register<float>::Values load(const float* from, int n) {
    return (Register<float>::Values)_mm512_maskz_loadu_ps(first_lanes(n), from);
}
inline Register<double>::Values load(const double* from, int n) {
    return (Register<double>::Values)_mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(n)), from);
}
inline void store(float* to, Register<float>::Values values, int n) { _mm512_mask_storeu_ps(to, first_lanes(n), (__m512)values); }
inline void store(double* to, Register<double>::Values values, int n) {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first_lanes(n)), (__m512d)values);
}
#elif defined(__AVX2__)
inline __m256i first_lanes(const float*, int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_lanes(const double*, int n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }
inline Register<float>::Values load(const float* from, int n) {
    return (Register<float>::Values)_mm256_maskload_ps(from, first_lanes(from, n));
}
inline Register<double>::Values load(const double* from, int n) {
    return (Register<double>::Values)_mm256_maskload_pd(from, first_lanes(from, n));
}
inline void store(float* to, Register<float>::Values values, int n) { _mm256_maskstore_ps(to, first_lanes(to, n), (__m256)values); }
inline void store(double* to, Register<double>::Values values, int n) { _mm256_maskstore_pd(to, first_lanes(to, n), (__m256d)values); }
#else
template <class T>
typename Register<T>::Values load(const T* from, int n) {
    typename Register<T>::Values values = {};
    for (int lane = 0; lane < kLanes<T>; ++lane) {
        if (lane < n) values[lane] = from[lane];
    }
    return values;
}
template <class T>
void store(T* to, typename Register<T>::Values values, int n) {
    for (int lane = 0; lane < kLanes<T>; ++lane) {
        if (lane < n) to[lane] = values[lane];
    }
}
#endif

// The lanes of two registers, numbered one after the other, that the last arguments name.
#if defined(__clang__) || __GNUC__ >= 12
#define FASTHASH_SHUFFLE(Integers, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FASTHASH_SHUFFLE(Integers, a, b, ...) __builtin_shuffle(a, b, Integers{__VA_ARGS__})
#endif

}  // namespace
}  // namespace fasthash
