#pragma once

// Vectors as wide as the registers of the level that a file is compiled for, by the extensions that GCC and Clang share.
#include <cstdint>

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
    typedef float Values __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(4), may_alias));
    typedef int32_t Integers __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));  // also truths: -1 or 0
};

template <>
struct Register<double> {
    typedef double Values __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(8), may_alias));
    typedef int64_t Integers __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));
};

template <class T>
constexpr int kLanes = FASTHASH_REGISTER_BYTES / static_cast<int>(sizeof(T));

template <class T>
typename Register<T>::Values load(const T* from) { return *reinterpret_cast<const typename Register<T>::Values*>(from); }

template <class T>
void store(T* to, typename Register<T>::Values values) { *reinterpret_cast<typename Register<T>::Values*>(to) = values; }

// Lanes i of the two registers one after the other, of which lane places[i] becomes lane i.
#if defined(__clang__) || __GNUC__ >= 12
#define FASTHASH_SHUFFLE(Integers, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FASTHASH_SHUFFLE(Integers, a, b, ...) __builtin_shuffle(a, b, Integers{__VA_ARGS__})
#endif

}  // namespace
}  // namespace fasthash
