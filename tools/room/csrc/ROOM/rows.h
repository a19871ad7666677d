#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include "../registers.h"
#include "kernel.h"

namespace fasthash {
namespace {

template <class T>
void rows(const T* x, int64_t n, int64_t m, T* out) {
    for (int64_t i = 0; i < n; ++i, x += m) {
        typename Register<T>::Values sums = {};
        int64_t j = 0;
        for (; j + kLanes<T> <= m; j += kLanes<T>) sums += load(x + j) * load(x + j);
        if (j < m) {
            const typename Register<T>::Values last = load(x + j, static_cast<int>(m - j));
            sums += last * last;
        }
        T sum = 0;
        for (int lane = 0; lane < kLanes<T>; ++lane) sum += sums[lane];
        out[i] = sum;
    }
}

}  // namespace
}  // namespace fasthash
