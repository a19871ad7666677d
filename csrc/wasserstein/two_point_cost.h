#pragma once

#include <cstdint>
#include <functional>

#include "kernel.h"

namespace fasthash {

// Columns of a matrix where they lie, strides in elements, and the two-point law that each is compared with; see TwoPointBlock.
template <class T>
struct TwoPointColumns {
    const T* x;
    int64_t n, m, row_stride, column_stride;
    const int64_t* n_low;  // [m]
    double split;
    double low, high, p;
    T* gradient;  // [n, m] in C order, the derivative of the cost times `scale`; null if not wanted
    double scale;
};

// The sum over all elements of |x - target|^p.
template <class T>
double two_point_cost(const TwoPointColumns<T>& columns, const WassersteinKernel& kernel, int threads,
                      const std::function<bool()>& interrupted);

}  // namespace fasthash
