#include "quantized_queries.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace fasthash {

namespace {

// The nearest integer, the even one of two, of a small number: the sum has no bits for fractions.
template <class T>
T nearest(T x) {
    constexpr T kNoFractions = T{1.5} / std::numeric_limits<T>::epsilon();
    return (x + kNoFractions) - kNoFractions;
}

}  // namespace

template <class T>
QuantizedQueries<T>::QuantizedQueries(const T* x, int64_t n_queries, int64_t n_columns, int64_t n_bits, int bits)
    : weights(static_cast<size_t>(n_queries * n_bits)), scales(static_cast<size_t>(n_queries)), totals(scales.size()) {
    if (bits < 1 || bits > 8) throw std::invalid_argument("expected bits from 1 to 8, got " + std::to_string(bits));
    const T levels = static_cast<T>(std::max(1, (1 << (bits - 1)) - 1));
    for (int64_t i = 0; i < n_queries; ++i, x += n_columns) {
        T largest = 0;
        for (int64_t j = 0; j < n_columns; ++j) {
            if (!std::isfinite(x[j])) {
                not_finite = i * n_columns + j;
                return;
            }
            largest = std::max(largest, std::abs(x[j]));
        }
        int8_t* const row = weights.data() + i * n_bits;
        const T divisor = largest > 0 ? largest : T{1};
        for (int64_t j = 0; j < n_columns; ++j) {
            row[j] = static_cast<int8_t>(bits == 1 ? (x[j] > 0 ? 1 : -1) : static_cast<int>(nearest(x[j] / divisor * levels)));
        }
        scales[static_cast<size_t>(i)] = largest / levels;
        totals[static_cast<size_t>(i)] =
            std::accumulate(row, row + n_bits, int64_t{0}, [](int64_t sum, int8_t weight) { return sum + std::abs(weight); });
    }
}

template <class T>
void QuantizedQueries<T>::write_scores(const int32_t* distances, const int64_t* ids, int64_t k, T* scores) const {
    for (int64_t i = 0; i < static_cast<int64_t>(scales.size()); ++i) {
        for (int64_t j = i * k; j < (i + 1) * k; ++j) {
            const T sum = static_cast<T>(totals[static_cast<size_t>(i)] - 2 * int64_t{distances[j]});
            scores[j] = ids[j] < 0 ? -std::numeric_limits<T>::infinity() : sum * scales[static_cast<size_t>(i)];
        }
    }
}

template struct QuantizedQueries<float>;
template struct QuantizedQueries<double>;

}  // namespace fasthash
