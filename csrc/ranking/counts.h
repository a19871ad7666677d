#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "../thread_pool.h"
#include "kernel.h"
#include "relevance.h"

namespace fasthash {

constexpr int64_t kQueriesCounted = 16;  // together, at most

// How many codes, and how many relevant ones, are at each distance from each query: [n_queries, n_bits + 1]. The set has no mask.
void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingKernel& kernel,
                     const SearchOptions& options, int64_t* totals, int64_t* relevants);

// The same of queries [first, last), as a part of a task: [last - first, n_bits + 1].
void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingKernel& kernel,
                     const HammingKernel& distances, int64_t first, int64_t last, Job& job, int64_t* totals, int64_t* relevants);

}  // namespace fasthash
