#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "../planes/stored_codes.h"
#include "quantized_queries.h"

namespace fasthash {

// The k codes of the largest score of every query, sorted by (-score, id): scores and ids are [n_queries, k].
template <class T>
void search_topk(const CodeSet& set, const QuantizedQueries<T>& queries, int64_t k, Isa isa, const SearchOptions& options, T* scores,
                 int64_t* ids);

template <class T>
void search_topk(const StoredCodes& set, const QuantizedQueries<T>& queries, int64_t k, Isa isa, const SearchOptions& options, T* scores,
                 int64_t* ids);

}  // namespace fasthash
