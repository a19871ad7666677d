#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "kernel.h"

namespace fasthash {

// Labels as n_words words of 32 bits a code: those of a query together, and those of the codes in planes, the same word of all
// codes together. A code is relevant to a query if its one word is the same or, where `shared`, if any bit is set in both.
struct Labels {
    const int32_t* queries;  // [n_queries, n_words]
    const int32_t* codes;    // [n_words, n_codes]
    int64_t n_codes, n_words;
    bool shared;
};

// How many codes, and how many relevant ones, are at each distance from each query: [n_queries, n_bits + 1]. The set has no mask.
void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingKernel& kernel,
                     const SearchOptions& options, int64_t* totals, int64_t* relevants);

}  // namespace fasthash
