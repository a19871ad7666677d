// The filter of weighted planes, written once over registers of the level that a file is compiled for; fasthash/ops/asymmetric/README.md derives it.
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../hamming/plane_filter.h"
#include "kernel.h"

namespace fasthash {
namespace {

template <int kCounters>
FASTHASH_INLINE void add_run(const uint64_t* group, const PlaneRun& run, Bits* counters) {
    const uint16_t* planes = run.planes;
    for (int i = 0; i < run.n_large; ++i, planes += 1 << kLargeBits) add_block<kCounters - 1, kLargeBits>(group, planes, counters);
    for (int i = 0; i < run.n_small; ++i, planes += 1 << kSmallBits) add_block<kCounters - 1, kSmallBits>(group, planes, counters);
}

// Where the distance of a group's codes is below a limit. With P and N the sums of the positive weights and of the others' magnitudes at a
// code's ones, the distance is positive - P + N, so it is below if and only if x = N - P + (positive - limit) < 0. The counters start from what
// is in brackets and count N; their complement is -x - 1, to which P is added. So a column needs one complement, and the next begins with
// the sign that the last ended with. What a column leaves is halved: its lowest bit does not change the sign of what higher columns add.
template <int kCounters>
FASTHASH_INLINE Bits filter_weighted_group(const uint64_t* group, const WeightedQuery& query, int64_t limit) {
    Bits counters[kCounters];
    const Bits start = all_lanes(static_cast<uint64_t>((query.positive - limit) >> query.first_column));
#pragma GCC unroll 32
    for (int i = 0; i < kCounters; ++i) counters[i] = -(start >> i & 1);
    const PlaneRun* run = query.runs;
    for (int column = query.first_column; column < query.n_columns; ++column, run += 2) {
        add_run<kCounters>(group, run[0], counters);
#pragma GCC unroll 32
        for (int i = 0; i < kCounters; ++i) counters[i] = ~counters[i];
        add_run<kCounters>(group, run[1], counters);
#pragma GCC unroll 32
        for (int i = 0; i + 1 < kCounters; ++i) counters[i] = counters[i + 1];
    }
    return counters[kCounters - 1] ^ all_lanes(-static_cast<uint64_t>((query.n_columns - query.first_column) & 1));
}

// The sum of the magnitudes of the weights at the bits where a code has the other sign.
FASTHASH_INLINE uint64_t weighted_distance(const CodeTile& tile, int64_t code, int n_words, const WeightedQuery& query) {
    const uint64_t* of_query = query.words;
    uint64_t distance = 0;
    for (int w = 0; w < n_words; ++w) {
        const uint64_t different = tile.words[code * tile.code_stride + w * tile.word_stride] ^ *of_query++;
        for (int column = 0; column < query.n_columns; ++column) distance += popcount(different & *of_query++) << column;
    }
    return distance;
}

// Takes the codes of a group that passed, in order, if they are below the limit of that moment, and returns how many passed.
inline int64_t take_passed(const CodeTile& tile, int64_t first, Bits passed, int n_words, const WeightedQuery& query, CandidateList& list) {
    uint64_t words[kPlaneWords], of_any = 0;
    int64_t n_passed = 0;
    store_bits(words, passed);
    for (uint64_t word : words) of_any |= word;
    for (; of_any != 0; of_any &= of_any - 1) {
        const int bit = lowest_bit(of_any);
        for (int64_t lane = 0, code = first + bit * kPlaneWords; lane < kPlaneWords && code < tile.count; ++lane, ++code) {
            if (!(words[lane] >> bit & 1)) continue;
            ++n_passed;
            const uint64_t distance = weighted_distance(tile, code, n_words, query);
            if (distance >= list.limit) continue;
            list.items[list.size++] = make_item(distance, static_cast<uint64_t>(tile.base + code));
            if (list.capacity - list.size < kTileGroup) list.full(list);
        }
    }
    return n_passed;
}

inline void make_weighted_planes(const CodeTile& tile, int n_bits, uint64_t* planes) {
    for (int64_t first = 0; first < tile.count; first += kPlaneCodes, planes += (n_bits + 1) * kPlaneWords) {
        transpose_group(tile, first, n_bits, planes, planes + n_bits * kPlaneWords);
    }
}

template <int kCounters>
int64_t filter_weighted_codes(const CodeTile& tile, const uint64_t* planes, int n_bits, const WeightedQuery& query, CandidateList& list) {
    const int n_words = static_cast<int>(ceil_div(n_bits, 64));
    int64_t n_passed = 0;
    for (int64_t first = 0; first < tile.count; first += kPlaneCodes, planes += (n_bits + 1) * kPlaneWords) {
        const int64_t limit = static_cast<int64_t>(list.limit);
        const Bits passed = filter_weighted_group<kCounters>(planes, query, limit <= query.total ? limit : query.total + 1);
        if (__builtin_expect(any(passed), 0)) n_passed += take_passed(tile, first, passed, n_words, query, list);
    }
    return n_passed;
}

template <int kCounters = kMinCounters>
int64_t filter_weighted(const CodeTile& tile, const uint64_t* planes, int n_bits, const WeightedQuery& query, CandidateList& list) {
    if constexpr (kCounters < kMaxCounters) {
        if (query.n_counters > kCounters) return filter_weighted<kCounters + 1>(tile, planes, n_bits, query, list);
    }
    return filter_weighted_codes<kCounters>(tile, planes, n_bits, query, list);
}

constexpr AsymmetricKernel weighted_kernel() { return {kPlaneCodes, make_weighted_planes, filter_weighted<>}; }

}  // namespace
}  // namespace fasthash
