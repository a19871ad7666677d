// The scan of rows for few queries, written once over registers of the level that a file is compiled for; fasthash/ops/asymmetric/README.md describes it.
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../hamming/scan.h"
#include "../popcount.h"
#include "kernel.h"

namespace fasthash {
namespace {

// The weighted distances of kGroup codes in rows. kWords = 0 is a width known only at run time.
template <int kWords>
struct WeightedRows {
    static constexpr int kMostRegisters = (kWords > 0 ? kWords : 64) / Lanes::kLanes + 1;
    const int given_words, n_columns;
    Lanes::Words signs[kMostRegisters], magnitudes[kMaxColumns][kMostRegisters];

    template <class Offset>
    WeightedRows(int words, const WeightedQuery<Offset>& query) : given_words(words), n_columns(query.n_columns) {
        const int stride = 1 + n_columns;
        for (int first = 0; first < n_words(); first += Lanes::kLanes) {
            for (int row = 0; row < stride; ++row) {
                uint64_t some[Lanes::kLanes] = {};
                for (int w = first; w < n_words() && w < first + Lanes::kLanes; ++w) some[w - first] = query.words[w * stride + row];
                (row == 0 ? signs : magnitudes[row - 1])[first / Lanes::kLanes] = Lanes::load(some);
            }
        }
    }

    int n_words() const { return kWords > 0 ? kWords : given_words; }

    void distances(const CodeTile& tile, int64_t j, Lanes::Counts* counts) const {
        for (int v = 0; v < kVectors; ++v) counts[v] = sum<Lanes::kLanes>(tile.words + (j + v * Lanes::kLanes) * n_words());
    }

    template <int kCodes>
    Lanes::Counts sum(const uint64_t* words) const {
        if constexpr (kCodes == 1) {
            return distance(words);
        } else {
            return Lanes::pairwise(sum<kCodes / 2>(words), sum<kCodes / 2>(words + kCodes / 2 * n_words()));
        }
    }

    // A code's distance, in parts that the lanes hold.
    Lanes::Counts distance(const uint64_t* words) const {
        const int n_whole = n_words() / Lanes::kLanes, n_rest = n_words() % Lanes::kLanes;
        Lanes::Words different[kMostRegisters];
        for (int i = 0; i < n_whole; ++i) different[i] = Lanes::load(words + i * Lanes::kLanes) ^ signs[i];
        if (n_rest > 0) different[n_whole] = Lanes::load_first(words + n_whole * Lanes::kLanes, n_rest) ^ signs[n_whole];
        const int n_registers = n_whole + (n_rest > 0);
        Lanes::Counts distance = Lanes::zero_counts();
        for (int column = n_columns - 1; column >= 0; --column) {
            distance = Lanes::add_counts(distance, distance);
            for (int i = 0; i < n_registers;) {
                Lanes::Partial partial = Lanes::zero();
                for (const int stop = n_registers - i > Lanes::kMaxPartials ? i + Lanes::kMaxPartials : n_registers; i < stop; ++i) {
                    partial = Lanes::add(partial, Lanes::partial_popcount(different[i] & magnitudes[column][i], Lanes::broadcast(0)));
                }
                distance = Lanes::add_counts(distance, Lanes::finish(partial));
            }
        }
        return distance;
    }
};

// The same of short codes, a word at a time, where registers have no popcounts and words do.
template <int kWords, int kColumns>
void scan_weighted_words(const CodeTile& tile, const WeightedQuery<uint16_t>& query, CandidateList& list) {
    uint64_t of_query[kWords * (1 + kColumns)];
    __builtin_memcpy(of_query, query.words, sizeof of_query);
    const uint64_t* code = tile.words;
    for (int64_t j = 0; j < tile.count; ++j, code += kWords) {
        const uint64_t* word = of_query;
        uint64_t distance = 0;
        for (int w = 0; w < kWords; ++w) {
            uint64_t different;
            __builtin_memcpy(&different, code + w, sizeof different);  // rows are read where they lie, aligned or not
            different ^= *word++;
            for (int column = 0; column < kColumns; ++column) distance += popcount(different & *word++) << column;
        }
        if (__builtin_expect(distance < list.limit, 0)) {
            list.items[list.size++] = make_item(distance, static_cast<uint64_t>(tile.base + j));
            if (list.capacity - list.size < kTileGroup) list.full(list);
        }
    }
}

template <int kWords>
void scan_short_rows(const CodeTile& tile, const WeightedQuery<uint16_t>& query, CandidateList& list) {
    constexpr bool kByWords = Lanes::kLanes > kWords && Lanes::kMaxPartials < 64;
    switch (kByWords ? query.n_columns : 0) {
        case 1: return scan_weighted_words<kWords, 1>(tile, query, list);
        case 2: return scan_weighted_words<kWords, 2>(tile, query, list);
        case 3: return scan_weighted_words<kWords, 3>(tile, query, list);
        default: return scan_layout(tile, WeightedRows<kWords>(kWords, query), list);
    }
}

// For queries of so many columns in all, at most, it is faster to scan rows than to make planes first.
inline int row_columns(int n_words) {
    if (!kHasPopcount) return 0;
    if (n_words < 4) return 3;
    return n_words < 8 ? 4 : 6;
}

inline void scan_weighted_rows(const CodeTile& tile, int n_words, const WeightedQuery<uint16_t>& query, CandidateList& list) {
    switch (n_words) {
        case 2: return scan_short_rows<2>(tile, query, list);
        case 3: return scan_short_rows<3>(tile, query, list);
        case 4: return scan_layout(tile, WeightedRows<4>(n_words, query), list);
        case 6: return scan_layout(tile, WeightedRows<6>(n_words, query), list);
        case 8: return scan_layout(tile, WeightedRows<8>(n_words, query), list);
        case 12: return scan_layout(tile, WeightedRows<12>(n_words, query), list);
        case 16: return scan_layout(tile, WeightedRows<16>(n_words, query), list);
        default: return scan_layout(tile, WeightedRows<0>(n_words, query), list);
    }
}

}  // namespace
}  // namespace fasthash
