#pragma once

#include <cstdint>
#include <vector>

#include "../hamming/query_set.h"

namespace fasthash {

// Real queries as integers times a scale, as fasthash/ops/asymmetric/README.md has them.
template <class T>
struct QuantizedQueries {
    std::vector<int8_t> weights;  // [n_queries, n_bits]
    std::vector<T> scales;
    std::vector<int64_t> totals;  // of the weights' magnitudes
    int64_t not_finite = -1;      // where the first element that is none is; then the rest means nothing

    // x is [n_queries, n_columns], at most n_bits columns; the weights of the bits beyond them are 0.
    QuantizedQueries(const T* x, int64_t n_queries, int64_t n_columns, int64_t n_bits, int bits);

    QuerySet set() const { return {reinterpret_cast<const uint8_t*>(weights.data()), static_cast<int64_t>(scales.size())}; }

    // The scores of hits, k a query, from their weighted distances; minus infinity where there is no hit.
    void write_scores(const int32_t* distances, const int64_t* ids, int64_t k, T* scores) const;
};

}  // namespace fasthash
