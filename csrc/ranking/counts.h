#pragma once

#include <cstdint>

#include "../hamming/search.h"

namespace fasthash {

// Labels of the queries and of the codes: words of 64 bits, n_words each. A code is relevant to a query if its one word is the same
// or, where `shared`, if any bit is set in both.
struct Labels {
    const int64_t* queries;
    const int64_t* codes;
    int64_t n_words;
    bool shared;
};

// How many codes, and how many relevant ones, are at each distance from each query: [n_queries, n_bits + 1]. The set has no mask.
void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const SearchOptions& options, int64_t* totals,
                     int64_t* relevants);

}  // namespace fasthash
