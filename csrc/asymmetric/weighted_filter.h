// The filter of weighted planes, written once over registers of the level that a file is compiled for; fasthash/ops/asymmetric/README.md derives it.
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../planes/stored_planes.h"
#include "kernel.h"
#include "weighted_rows.h"

namespace fasthash {
namespace {

template <int kCounters, class Planes>
FASTHASH_INLINE void add_run(const uint64_t* group, Planes planes, int n_large, int n_small, Bits* counters) {
    for (int i = 0; i < n_large; ++i, planes += 1 << kLargeBits) add_block<kCounters - 1, kLargeBits>(group, planes, counters);
    for (int i = 0; i < n_small; ++i, planes += 1 << kSmallBits) add_block<kCounters - 1, kSmallBits>(group, planes, counters);
}

// Where the distance of a group's codes is below a limit. With P and N the sums of the positive weights and of the others' magnitudes at a
// code's ones, the distance is positive - P + N, so it is below if and only if x = N - P + (positive - limit) < 0. The counters start from what
// is in brackets and count N; their complement is -x - 1, to which P is added. So a column needs one complement, and the next begins with
// the sign that the last ended with. What a column leaves is halved: its lowest bit does not change the sign of what higher columns add.
// Planes are read as list(offsets) has them.
template <int kCounters, class Offset, class List>
FASTHASH_INLINE Bits filter_weighted_group(const uint64_t* group, const WeightedQuery<Offset>& query, uint64_t code_limit,
                                           const List& list) {
    const int64_t most = query.total + 1, limit = code_limit < static_cast<uint64_t>(most) ? static_cast<int64_t>(code_limit) : most;
    Bits counters[kCounters];
    const Bits start = all_lanes(static_cast<uint64_t>((query.positive - limit) >> query.first_column));
#pragma GCC unroll 32
    for (int i = 0; i < kCounters; ++i) counters[i] = -(start >> i & 1);
    const PlaneRun<Offset>* run = query.runs;
    for (int column = query.first_column; column < query.n_columns; ++column, run += 2) {
        add_run<kCounters>(group, list(run[0].planes), run[0].n_large, run[0].n_small, counters);
#pragma GCC unroll 32
        for (int i = 0; i < kCounters; ++i) counters[i] = ~counters[i];
        add_run<kCounters>(group, list(run[1].planes), run[1].n_large, run[1].n_small, counters);
#pragma GCC unroll 32
        for (int i = 0; i + 1 < kCounters; ++i) counters[i] = counters[i + 1];
    }
    return counters[kCounters - 1] ^ all_lanes(-static_cast<uint64_t>((query.n_columns - query.first_column) & 1));
}

// The sum of the magnitudes of the weights at the bits where a code has the other sign.
FASTHASH_INLINE uint64_t weighted_distance(const CodeTile& tile, int64_t code, int n_words, const WeightedQuery<uint16_t>& query) {
    const uint64_t* of_query = query.words;
    uint64_t distance = 0;
    for (int w = 0; w < n_words; ++w) {
        const uint64_t different = tile.words[code * tile.code_stride + w * tile.word_stride] ^ *of_query++;
        for (int column = 0; column < query.n_columns; ++column) distance += popcount(different & *of_query++) << column;
    }
    return distance;
}

// What passed of a group, of which some is taken.
struct Taken {
    int64_t n_codes;
    int next_bit;  // of the group's words, up to which all is taken
};

// Takes the codes of a group that passed, in order, if they are below the limit of that moment: all, or so many that the limit may have fallen.
inline Taken take_passed(const CodeTile& tile, int64_t first, Bits passed, int n_words, const WeightedQuery<uint16_t>& query,
                         CandidateList& list) {
    constexpr int64_t kAtOnce = 64;
    uint64_t words[kPlaneWords], of_any = 0;
    Taken taken{0, 64};
    store_bits(words, passed);
    for (uint64_t word : words) of_any |= word;
    for (; of_any != 0; of_any &= of_any - 1) {
        const int bit = lowest_bit(of_any);
        if (taken.n_codes >= kAtOnce) {
            taken.next_bit = bit;
            break;
        }
        for (int64_t lane = 0, code = first + bit * kPlaneWords; lane < kPlaneWords && code < tile.count; ++lane, ++code) {
            if (!(words[lane] >> bit & 1)) continue;
            ++taken.n_codes;
            const uint64_t distance = weighted_distance(tile, code, n_words, query);
            if (distance >= list.limit) continue;
            list.items[list.size++] = make_item(distance, static_cast<uint64_t>(tile.base + code));
            if (list.capacity - list.size < kTileGroup) list.full(list);
        }
    }
    return taken;
}

inline void make_weighted_planes(const CodeTile& tile, int n_bits, uint64_t* planes) {
    for (int64_t first = 0; first < tile.count; first += kPlaneCodes, planes += (n_bits + 1) * kPlaneWords) {
        transpose_group(tile, first, n_bits, planes, planes + n_bits * kPlaneWords);
    }
}

template <int kCounters>
int64_t filter_weighted_codes(const CodeTile& tile, const uint64_t* planes, int n_bits, const WeightedQuery<uint16_t>& query,
                              CandidateList& list) {
    const int n_words = static_cast<int>(ceil_div(n_bits, 64));
    int64_t n_passed = 0;
    for (int64_t first = 0; first < tile.count; first += kPlaneCodes, planes += (n_bits + 1) * kPlaneWords) {
        for (int bit = 0; bit < 64;) {
            const Bits passed =
                filter_weighted_group<kCounters>(planes, query, list.limit, [](const uint16_t* offsets) { return offsets; }) &
                all_lanes(~uint64_t{0} << bit);
            if (__builtin_expect(!any(passed), 1)) break;
            const Taken taken = take_passed(tile, first, passed, n_words, query, list);
            n_passed += taken.n_codes;
            bit = taken.next_bit;
        }
    }
    return n_passed;
}

template <int kCounters = kMinCounters>
int64_t filter_weighted(const CodeTile& tile, const uint64_t* planes, int n_bits, const WeightedQuery<uint16_t>& query,
                        CandidateList& list) {
    if constexpr (kCounters < kMaxCounters) {
        if (query.n_counters > kCounters) return filter_weighted<kCounters + 1>(tile, planes, n_bits, query, list);
    }
    return filter_weighted_codes<kCounters>(tile, planes, n_bits, query, list);
}

template <int kCounters, bool kFetching>
bool mark_codes(const StoredLine& line, const WeightedQuery<int64_t>& query, uint64_t limit, uint64_t* marks) {
    uint64_t of_any = 0;
    for (int part = 0; part < kLineRegisters; ++part) {
        const uint64_t* const planes = line.planes + part * kPlaneWords;
        Bits passed;
        if constexpr (kFetching) {
            passed = filter_weighted_group<kCounters>(planes, query, limit,
                                                      [&](const int64_t* offsets) { return FetchingPlanes{offsets, line.ahead}; });
        } else {
            passed = filter_weighted_group<kCounters>(planes, query, limit, [](const int64_t* offsets) { return offsets; });
        }
        if (line.mask) passed &= load_mask(line.mask + 8 * part * kPlaneWords);
        store_bits(marks + part * kPlaneWords, passed);
        of_any |= any(passed);
    }
    return of_any != 0;
}

template <int kCounters = kMinCounters>
bool mark_line(const StoredLine& line, const WeightedQuery<int64_t>& query, uint64_t limit, uint64_t* marks) {
    if constexpr (kCounters < kMaxCounters) {
        if (query.n_counters > kCounters) return mark_line<kCounters + 1>(line, query, limit, marks);
    }
    return (line.ahead ? mark_codes<kCounters, true> : mark_codes<kCounters, false>)(line, query, limit, marks);
}

constexpr AsymmetricKernel weighted_kernel() {
    return {kPlaneCodes, make_weighted_planes, filter_weighted<>, scan_weighted_rows, row_columns, mark_line<>};
}

}  // namespace
}  // namespace fasthash
