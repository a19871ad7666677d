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

// The codes within a distance, the bound included: hits per query, then the hits sorted by (distance, id).
class RadiusSearch {
public:
    RadiusSearch(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options);
    void write_offsets(int64_t* offsets) const;  // [n_queries + 1]
    void write_hits(int32_t* distances, int64_t* ids);

private:
    CodeSet set_;
    std::vector<std::vector<uint64_t>> hits_;
};

// Every distance, [n_queries, n_codes]. The set has no mask.
void all_distances(const CodeSet& set, const QuerySet& queries, const SearchOptions& options, int32_t* distances);

}  // namespace fasthash
