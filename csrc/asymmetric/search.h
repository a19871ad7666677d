#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "weighted_scan.h"

namespace fasthash {

// The codes of a set by weighted distances from queries of int8 weights [n_queries, n_bits].
WeightedSet weighted_set(const CodeSet& set, const QuerySet& queries, Isa isa);

// The k nearest codes of every query, as the search of rows in hamming/search.h.
void search_topk(const WeightedSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances,
                 int64_t* ids);

}  // namespace fasthash
