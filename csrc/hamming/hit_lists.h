#pragma once

#include <cstdint>
#include <vector>

namespace fasthash {

// For each query its hits as items with ids; among those at one distance the ids ascend.
using HitLists = std::vector<std::vector<uint64_t>>;

// Where each query's hits begin when all are written one after the other, and where they end: [n_queries + 1].
void write_offsets(const HitLists& hits, int64_t* offsets);

// Writes the hits of codes of n_bits, each query's sorted by (distance, id). Reorders them.
void write_hits(HitLists& hits, int64_t n_bits, int32_t* distances, int64_t* ids);

}  // namespace fasthash
