#pragma once

#include <cstdint>
#include <functional>

namespace fasthash {

// A sample of m columns where it lies, strides in elements.
template <class T>
struct SampleColumns {
    const T* x;
    int64_t n, row_stride, column_stride;
    T* gradient;  // [n, m] in C order, the derivative of the cost times the caller's scale; null if not wanted
};

// The sum over m columns of the integral over [0, 1] of |difference of the two samples' quantile functions|^p.
template <class T>
double sorted_cost(const SampleColumns<T>& x, const SampleColumns<T>& y, int64_t m, double p, double scale, int threads,
                   const std::function<bool()>& interrupted);

}  // namespace fasthash
