#pragma once

#include <cstdint>

#include "code_set.h"
#include "kernel.h"

namespace fasthash {

constexpr int kMaxBits = 4096;
constexpr int32_t kNoDistance = INT32_MAX;  // stands, with id -1, where there is no further hit

inline uint64_t item_distance(uint64_t item) { return item >> kRankBits; }
inline int64_t item_rank(uint64_t item) { return static_cast<int64_t>(item & ((uint64_t{1} << kRankBits) - 1)); }

// Cuts a list back to its k nearest by counting distances and lowers its limit to the k-th distance: a later code
// at that distance would lose the tie. Does nothing below k items.
void keep_nearest(CandidateList& list);

// Writes the nearest min(k, size) of items in ascending rank, sorted by (distance, rank), and pads up to k. Reorders items.
void write_nearest(uint64_t* items, int64_t size, int64_t k, const CodeSet& set, int32_t* distances, int64_t* ids);

}  // namespace fasthash
