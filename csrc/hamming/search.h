#pragma once

#include <cstdint>
#include <functional>

#include "code_set.h"
#include "found_hits.h"
#include "kernel.h"
#include "query_set.h"

namespace fasthash {

struct SearchOptions {
    HammingKernel kernel;
    int threads;
    std::function<bool()> interrupted;
    int64_t max_distance = INT64_MAX;  // of the nearest codes; farther ones are as if they were not there
};

// The k nearest codes of every query, sorted by (distance, id): distances and ids are [n_queries, k].
void search_topk(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances, int64_t* ids);

// The codes within a distance, the bound included.
HitGroups search_radius(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options);

// Every distance, [n_queries, n_codes]. The set has no mask.
void all_distances(const CodeSet& set, const QuerySet& queries, const SearchOptions& options, int32_t* distances);

}  // namespace fasthash
