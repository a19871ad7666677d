#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "quantized_queries.h"

namespace fasthash {

// What a code's score is multiplied by, and what is added then, [n_codes] each; null for 1 and for 0. All are finite.
struct CodeFactors {
    const float* factors;
    const float* offsets;
};

// The k codes of the largest score of every query, sorted by (-score, id): scores and ids are [n_queries, k].
template <class T>
void search_topk(const CodeSet& set, const QuantizedQueries<T>& queries, const CodeFactors& factors, int64_t k, Isa isa,
                 const SearchOptions& options, T* scores, int64_t* ids);

}  // namespace fasthash
