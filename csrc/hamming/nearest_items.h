#pragma once

#include <cstdint>

#include "code_set.h"
#include "item.h"
#include "kernel.h"

namespace fasthash {

// Cuts a list back to its k nearest and lowers its limit to the k-th distance: a later code
// at that distance would lose the tie. Does nothing below k items.
void keep_nearest(CandidateList& list);

// Writes the nearest min(k, size) of items in ascending rank, sorted by (distance, rank), and fills up to k. Ranks are those of the
// codes eligible by the mask, or ids if it is null. Reorders items.
void write_nearest(uint64_t* items, int64_t size, int64_t k, int64_t max_distance, const Mask* mask, int32_t* distances, int64_t* ids);

// Fills n places for hits where there is no further one: distance INT32_MAX, id -1.
void fill_without_hits(int64_t n, int32_t* distances, int64_t* ids);

}  // namespace fasthash
