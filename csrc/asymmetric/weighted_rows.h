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
    // Where a code ends in the middle of a register the next begins there: two of them are read as one of twice the length.
    static constexpr int kTogether = kWords > 0 && 2 * (kWords % Lanes::kLanes) == Lanes::kLanes ? 2 : 1;
    static constexpr int kMostRegisters = (kWords > 0 ? kTogether * kWords : LongRows<0>::kMostWords) / Lanes::kLanes + 1;
    static constexpr int kRows = Lanes::kLanes / kTogether;
    static constexpr int kByteColumns = 5;  // 8 * (2^5 - 1) still fits a byte
    const int given_words, n_columns;
    Lanes::Words signs[kMostRegisters];
    Lanes::Split magnitudes[kMostRegisters][kMaxColumns];
    Lanes::Words first_half;  // of a register

    template <class Offset>
    WeightedRows(int words, const WeightedQuery<Offset>& query) : given_words(words), n_columns(query.n_columns) {
        uint64_t lanes[Lanes::kLanes] = {};
        for (int i = 0; i < Lanes::kLanes / 2; ++i) lanes[i] = ~uint64_t{0};
        first_half = Lanes::load(lanes);
        const int stride = 1 + n_columns, row_words = kTogether * n_words();
        for (int first = 0; first < row_words; first += Lanes::kLanes) {
            for (int row = 0; row < stride; ++row) {
                uint64_t some[Lanes::kLanes] = {};
                for (int w = first; w < row_words && w < first + Lanes::kLanes; ++w) {
                    some[w - first] = query.words[w % n_words() * stride + row];
                }
                const Lanes::Words all = Lanes::load(some);
                if (row == 0) {
                    signs[first / Lanes::kLanes] = all;
                } else {
                    magnitudes[first / Lanes::kLanes][row - 1] = Lanes::split(all);
                }
            }
        }
    }

    int n_words() const { return kWords > 0 ? kWords : given_words; }

    void distances(const CodeTile& tile, int64_t j, Lanes::Counts* counts) const {
        const int row_words = kTogether * n_words(), n_whole = row_words / Lanes::kLanes, n_rest = row_words % Lanes::kLanes;
        for (int v = 0; v < kVectors; ++v) {
            const uint64_t* words = tile.words + (j + v * Lanes::kLanes) * n_words();
            Lanes::Counts of_codes[Lanes::kLanes];  // in parts that the lanes hold
            for (Lanes::Counts& distance : of_codes) distance = Lanes::zero_counts();
            Lanes::Words codes[kRows];
            int i = 0;
            for (; i < n_whole; ++i) {
                for (int row = 0; row < kRows; ++row) codes[row] = Lanes::load(words + row * row_words + i * Lanes::kLanes);
                add_registers(codes, i, of_codes);
            }
            if (n_rest > 0) {
                for (int row = 0; row < kRows; ++row) {
                    codes[row] = Lanes::load_first(words + row * row_words + i * Lanes::kLanes, n_rest);
                }
                add_registers(codes, i, of_codes);
            }
            counts[v] = sum<Lanes::kLanes>(of_codes);
        }
    }

    // Adds what register i of every row weighs.
    void add_registers(const Lanes::Words* codes, int i, Lanes::Counts* of_codes) const {
        Lanes::Split different[kRows];
        for (int row = 0; row < kRows; ++row) different[row] = Lanes::split(codes[row] ^ signs[i]);
        const int n_low = n_columns < kByteColumns ? n_columns : kByteColumns;
        Lanes::Counts distances[kRows];
        weigh(different, magnitudes[i], n_low, distances);
        if (n_columns > n_low) {
            Lanes::Counts high[kRows];
            weigh(different, magnitudes[i] + n_low, n_columns - n_low, high);
            for (int row = 0; row < kRows; ++row) {
                for (int column = 0; column < n_low; ++column) high[row] = Lanes::add_counts(high[row], high[row]);
                distances[row] = Lanes::add_counts(distances[row], high[row]);
            }
        }
        for (int row = 0; row < kRows; ++row) {
            const Lanes::Counts distance = distances[row];
            if constexpr (kTogether == 1) {
                of_codes[row] = Lanes::add_counts(of_codes[row], distance);
            } else {
                constexpr int kMiddle = kWords / Lanes::kLanes;
                Lanes::Counts* of_row = of_codes + 2 * row;
                if (i <= kMiddle) of_row[0] = Lanes::add_counts(of_row[0], i < kMiddle ? distance : distance & first_half);
                if (i >= kMiddle) of_row[1] = Lanes::add_counts(of_row[1], i > kMiddle ? distance : distance & ~first_half);
            }
        }
    }

    static void weigh(const Lanes::Split* different, const Lanes::Split* of_columns, int n, Lanes::Counts* out) {
        Lanes::Partial partials[kRows];
        for (Lanes::Partial& partial : partials) partial = Lanes::zero();
        for (int column = n - 1; column >= 0; --column) {
            const Lanes::Split magnitude = of_columns[column];
            for (int row = 0; row < kRows; ++row) {
                const Lanes::Partial here = Lanes::popcount_of_both(different[row], magnitude);
                partials[row] = Lanes::add(Lanes::add(partials[row], partials[row]), here);
            }
        }
        for (int row = 0; row < kRows; ++row) out[row] = Lanes::finish(partials[row]);
    }

    template <int kCodes>
    static Lanes::Counts sum(const Lanes::Counts* of_codes) {
        if constexpr (kCodes == 1) {
            return *of_codes;
        } else {
            return Lanes::pairwise(sum<kCodes / 2>(of_codes), sum<kCodes / 2>(of_codes + kCodes / 2));
        }
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
    switch (kCountsByWords && Lanes::kLanes > kWords ? query.n_columns : 0) {
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
        case 24: return scan_layout(tile, WeightedRows<24>(n_words, query), list);
        default: return scan_layout(tile, WeightedRows<0>(n_words, query), list);
    }
}

}  // namespace
}  // namespace fasthash
