#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "../matrix_product/kernel.h"
#include "kernel.h"
#include "relevance.h"

namespace fasthash {

// Rows of `width` elements of one of the two types; the other is null.
struct Vectors {
    const float* single_precision;
    const double* double_precision;
    int64_t width;

    void read(int64_t row, const RankingKernel& kernel, double* to) const;
    void prefetch(int64_t row) const;
};

// What puts codes at one distance in order: the larger the inner product of the vectors, times the code's scale, the nearer. Scaled
// vectors are no longer than 1. Products that are equal to 2^-29 leave codes in the order of the set.
struct Similarity {
    Vectors queries, codes;
    const double* scales;  // [n_codes]
    Multiply<double> multiply;
};

struct RankingOrder {
    int64_t k;                     // how many places are wanted
    int64_t within;                // the largest distance of a code that counts
    int64_t own;                   // the code that the first query is, as the next one is the next code, left out of its ranking; or -1
    const Similarity* similarity;  // null: codes at one distance are in the order of the set
};

// Which of the first k places of each query's ranking by distance have a relevant code, as PlaceBits [n_queries, ceil(k / 8)]. The set
// has no mask.
void relevance_by_place(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingOrder& order,
                        const RankingKernel& kernel, const SearchOptions& options, uint8_t* bits);

}  // namespace fasthash
