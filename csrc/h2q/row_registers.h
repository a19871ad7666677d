// A row of a matrix a register at a time; in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "../registers.h"

namespace fasthash {
namespace {

using Floats = Register<float>::Values;
constexpr int kWidth = kLanes<float>;

Floats all(float x) { return Floats{} + x; }

// Calls f on whole registers, and on a last one that is filled up with zeros and of which only what exists is written back.
template <class F>
void for_each_register(int64_t n, const F& f) {
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) f(i, kWidth);
    if (i < n) f(i, static_cast<int>(n - i));
}

double sum_of(Floats values) {
    double sum = 0;
    for (int lane = 0; lane < kWidth; ++lane) sum += static_cast<double>(values[lane]);
    return sum;
}

}  // namespace
}  // namespace fasthash
