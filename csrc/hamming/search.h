#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "code_set.h"
#include "kernel.h"

namespace fasthash {

struct SearchOptions {
    HammingKernel kernel;
    int threads;
    std::function<bool()> interrupted;
};

// Row-major packed queries of the code set's width.
struct QuerySet {
    const uint8_t* codes;
    int64_t n_queries;
};

// The k nearest codes of every query, sorted by (distance, id): distances and ids are [n_queries, k].
void search_topk(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances,
                 int64_t* ids);

// Some of the queries, side by side.
class QuerySubset {
public:
    QuerySubset(const QuerySet& queries, int n_bytes, const std::vector<int64_t>& which);
    QuerySet set() const { return {codes_.data(), static_cast<int64_t>(which_.size())}; }

    // Searches for them alone and writes their rows of a result for all the queries.
    void search_topk(const std::function<void(int32_t* distances, int64_t* ids)>& search, int64_t k, int32_t* distances, int64_t* ids) const;

private:
    const std::vector<int64_t>& which_;
    std::vector<uint8_t> codes_;
};

// For each query its hits as items; among those at one distance the ranks ascend.
using HitLists = std::vector<std::vector<uint64_t>>;

// The codes within a distance, the bound included.
HitLists search_radius(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options);

void write_offsets(const HitLists& hits, int64_t* offsets);  // [n_queries + 1]
void write_hits(HitLists& hits, const CodeSet& set, int32_t* distances, int64_t* ids);  // sorted by (distance, id)

// Every distance, [n_queries, n_codes]. The set has no mask.
void all_distances(const CodeSet& set, const QuerySet& queries, const SearchOptions& options, int32_t* distances);

}  // namespace fasthash
