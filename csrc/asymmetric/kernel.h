#pragma once

// Included by files compiled for one processor level each: no standard library but this header,
// and nothing inline that another level could share.
#include <cstdint>

#include "../hamming/kernel.h"

namespace fasthash {

constexpr int kMaxColumns = 7;       // bits of a weight's magnitude
constexpr int kMaxCounterBits = 20;  // of a sum of weights, and one for its sign

// Planes that are added with the same weight: blocks of several sizes, one after the other, filled up with planes of zeros.
struct PlaneRun {
    int column;  // the weight is 2^column
    int n_large, n_middle, n_small;
};

constexpr int kLargeBits = 6, kMiddleBits = 4, kSmallBits = 3;  // 2^bits planes are a block

// A query as the filter on planes reads it.
struct WeightedQuery {
    const uint64_t* words;   // for each word of a code that of the positive weights, then n_columns of the bits of their magnitudes
    const uint16_t* planes;  // where the planes of all runs begin in a group, in words
    const PlaneRun* runs;    // those of negative weights, then those of positive ones
    int n_negative_runs, n_runs;
    int n_columns;
    int n_counters;    // that hold any sum, with its sign
    int64_t positive;  // the sum of the positive weights whose planes are among the runs
    int64_t total;     // the sum of all magnitudes
};

// The planes of a tile are those of each group of its codes: one for each bit of the codes, then one of zeros.
struct AsymmetricKernel {
    int64_t group;  // of so many codes, 64 for each word of a plane
    void (*make)(const CodeTile& tile, int n_bits, uint64_t* planes);
    // Appends to `list` the codes of the tile whose weighted distance to the query is below the list's limit.
    void (*filter)(const CodeTile& tile, const uint64_t* planes, int n_bits, const WeightedQuery& query, CandidateList& list);
};

AsymmetricKernel asymmetric_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
