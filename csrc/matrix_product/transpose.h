// The transpose of a square of registers, in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "../registers.h"

namespace fasthash {
namespace {

// The numbers from 0 to n - 1 as template arguments.
template <int... kNumbers>
struct Numbers {};

template <int n, int... kNumbers>
struct NumbersTo : NumbersTo<n - 1, n - 1, kNumbers...> {};

template <int... kNumbers>
struct NumbersTo<0, kNumbers...> {
    using type = Numbers<kNumbers...>;
};

template <class T, int kSize, int... kLane>
void exchange(typename Register<T>::Values& upper, typename Register<T>::Values& lower, Numbers<kLane...>) {
    const typename Register<T>::Values above = upper, below = lower;
    upper = FASTHASH_SHUFFLE(typename Register<T>::Integers, above, below, (kLane & kSize ? kLanes<T> + kLane - kSize : kLane)...);
    lower = FASTHASH_SHUFFLE(typename Register<T>::Integers, above, below, (kLane & kSize ? kLanes<T> + kLane : kLane + kSize)...);
}

// Exchanges the off-diagonal quarters of ever larger squares.
template <class T, int kSize = 1>
void transpose(typename Register<T>::Values (&square)[kLanes<T>]) {
    if constexpr (kSize < kLanes<T>) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes<T>; ++i) {
            if (!(i & kSize)) exchange<T, kSize>(square[i], square[i + kSize], typename NumbersTo<kLanes<T>>::type{});
        }
        transpose<T, 2 * kSize>(square);
    }
}

}  // namespace
}  // namespace fasthash
