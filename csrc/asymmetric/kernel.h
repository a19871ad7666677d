#pragma once

// Included by files compiled for one processor level each: no standard library but this header,
// and nothing inline that another level could share.
#include <cstdint>

#include "../hamming/kernel.h"

namespace fasthash {

constexpr int kLargeBits = 5, kSmallBits = 3;       // 2^bits planes are a block
constexpr int kMinCounters = 8, kMaxCounters = 21;  // 21 hold any sum of 4,096 int8 weights, with its sign
constexpr int kMaxColumns = 7;                      // bits of a weight's magnitude

// Planes that are added with the same weight and sign: large blocks, then small ones.
template <class Offset>
struct PlaneRun {
    const Offset* planes;  // where they begin in a group, in words
    int n_large, n_small;
};

// A query as the filter on planes reads it, for a lower bound of its distances: that of some of its planes.
template <class Offset>
struct WeightedQuery {
    const uint64_t*
        words;  // for each word of a code the weights' signs, 1 for those above 0, then n_columns of the bits of their magnitudes
    int n_columns;
    // From the lowest column that has any on, two runs a column: of negative and of positive weights, in turn first.
    PlaneRun<Offset> runs[2 * kMaxColumns];
    int first_column;
    int n_counters;    // from kMinCounters to kMaxCounters: that hold any sum of them, with its sign
    int64_t positive;  // the sum of the positive weights
    int64_t total;     // the sum of all magnitudes
};

// A line of codes of a block of stored planes, see planes/layout.h.
struct StoredLine {
    const uint64_t* planes;
    const uint8_t* mask;  // its eligible codes, a bit each; null for all
    int64_t ahead;        // with each plane the words so much later are fetched, unless it is 0
};

struct AsymmetricKernel {
    int64_t group;  // of so many codes, 64 for each word of a plane
    // Makes the planes of a tile, whose code_stride is 1: those of each group of its codes, one for each bit of them, then one of zeros.
    void (*make)(const CodeTile& tile, int n_bits, uint64_t* planes);
    // Appends to `list` the codes of the tile whose weighted distance to the query is below the list's limit, and returns of how many it was
    // computed, because the lower bound was.
    int64_t (*filter)(const CodeTile& tile, const uint64_t* planes, int n_bits, const WeightedQuery<uint16_t>& query, CandidateList& list);
    // Appends to `list` the codes of a tile of rows whose weighted distance to the query is below the list's limit.
    void (*scan)(const CodeTile& tile, int n_words, const WeightedQuery<uint16_t>& query, CandidateList& list);
    int (*row_columns)(int n_words);  // for queries of so many columns in all, at most, that is faster than making planes
    // Marks the eligible codes of a stored line whose lower bound is below the limit, a bit each, and tells whether there are any.
    bool (*mark)(const StoredLine& line, const WeightedQuery<int64_t>& query, uint64_t limit, uint64_t* marks);
};

AsymmetricKernel asymmetric_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
