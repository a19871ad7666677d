// The scan, written once over a struct `Lanes` that each level's file defines before it includes this one:
//   kLanes                   64-bit lanes in a register
//   Words, Partial, Counts   registers of code words, of unfinished counts, of one distance per lane
//   load, load_first (n words, 1 to kLanes - 1, and zeros), broadcast, repeat (the query's words, over and over),
//   partial_popcount(a ^ b), zero, add,
//   kMaxPartials (additions before the sum must be finished), finish, zero_counts, add_counts,
//   pairwise (sums of neighbouring lanes of one register, then of another), minimum, limit(uint64_t),
//   any_below(counts, limit), below (a bit for each lane that is), store32(int32_t*), take (see there)
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../popcount.h"
#include "kernel.h"

namespace fasthash {
namespace {

constexpr int kVectors = 4;
constexpr int kGroup = kVectors * Lanes::kLanes;
// Words have a popcount, registers of them none.
constexpr bool kCountsByWords = kHasPopcount && Lanes::kLanes > 1 && Lanes::kMaxPartials < 64;
static_assert(kTileGroup % kGroup == 0, "a tile is padded to whole groups");

// The distances of kGroup codes in planes. kWords = 0 is a width known only at run time.
template <int kWords>
struct Planes {
    int n_words;
    const uint64_t* query;
    Lanes::Words query_words[kWords > 0 ? kWords : 1];

    Planes(int words, const uint64_t* q) : n_words(words), query(q) {
        for (int w = 0; w < kWords; ++w) query_words[w] = Lanes::broadcast(q[w]);
    }

    void distances(const CodeTile& tile, int64_t j, Lanes::Counts* counts) const {
        const uint64_t* first = tile.words + j * (Lanes::kLanes > 1 ? 1 : tile.code_stride);
        const int64_t vector_stride = Lanes::kLanes > 1 ? Lanes::kLanes : tile.code_stride;
        if constexpr (kWords > 0) {
            // The query stays in registers; one vector after the other leaves room for them.
            static_assert(kWords <= Lanes::kMaxPartials);
            for (int v = 0; v < kVectors; ++v) {
                Lanes::Partial partial = Lanes::partial_popcount(Lanes::load(first + v * vector_stride), query_words[0]);
                for (int w = 1; w < kWords; ++w) {
                    const Lanes::Words codes = Lanes::load(first + w * tile.word_stride + v * vector_stride);
                    partial = Lanes::add(partial, Lanes::partial_popcount(codes, query_words[w]));
                }
                counts[v] = Lanes::finish(partial);
            }
            return;
        }
        // Each word of the query is fetched for all vectors at once.
        for (int v = 0; v < kVectors; ++v) counts[v] = Lanes::zero_counts();
        for (int w = 0; w < n_words;) {
            const int stop = n_words - w > Lanes::kMaxPartials ? w + Lanes::kMaxPartials : n_words;
            Lanes::Partial partial[kVectors] = {Lanes::zero(), Lanes::zero(), Lanes::zero(), Lanes::zero()};
            for (; w < stop; ++w) {
                const Lanes::Words q = Lanes::broadcast(query[w]);
                for (int v = 0; v < kVectors; ++v) {
                    const Lanes::Words codes = Lanes::load(first + w * tile.word_stride + v * vector_stride);
                    partial[v] = Lanes::add(partial[v], Lanes::partial_popcount(codes, q));
                }
            }
            for (int v = 0; v < kVectors; ++v) counts[v] = Lanes::add_counts(counts[v], Lanes::finish(partial[v]));
        }
    }
};

// The distances of one register of codes in planes.
inline Lanes::Counts distances_of_register(const CodeTile& tile, int64_t first, int n_words, const uint64_t* query) {
    Lanes::Counts counts = Lanes::zero_counts();
    for (int w = 0; w < n_words;) {
        const int stop = n_words - w > Lanes::kMaxPartials ? w + Lanes::kMaxPartials : n_words;
        Lanes::Partial partial = Lanes::zero();
        for (; w < stop; ++w) {
            const Lanes::Words codes = Lanes::load(tile.words + first + w * tile.word_stride);
            partial = Lanes::add(partial, Lanes::partial_popcount(codes, Lanes::broadcast(query[w])));
        }
        counts = Lanes::add_counts(counts, Lanes::finish(partial));
    }
    return counts;
}

// The distances of kGroup codes in rows of kWords words, kWords a power of two.
template <int kWords>
struct Rows {
    static constexpr int kPerCode = kWords > Lanes::kLanes ? kWords / Lanes::kLanes : 1;  // registers a code fills
    static constexpr int kLeaves = kWords > Lanes::kLanes ? Lanes::kLanes : kWords;       // registers summed to one
    Lanes::Words query_words[kPerCode];

    Rows(int, const uint64_t* q) {
        for (int i = 0; i < kPerCode; ++i) query_words[i] = Lanes::template repeat<kLeaves>(q + i * Lanes::kLanes);
    }

    void distances(const CodeTile& tile, int64_t j, Lanes::Counts* counts) const {
        for (int v = 0; v < kVectors; ++v) counts[v] = sum<kLeaves>(tile.words + (j + v * Lanes::kLanes) * kWords);
    }

    template <int kCount>
    Lanes::Counts sum(const uint64_t* words) const {
        if constexpr (kCount == 1) {
            Lanes::Partial partial = Lanes::partial_popcount(Lanes::load(words), query_words[0]);
            for (int i = 1; i < kPerCode; ++i) {
                partial = Lanes::add(partial, Lanes::partial_popcount(Lanes::load(words + i * Lanes::kLanes), query_words[i]));
            }
            return Lanes::finish(partial);
        } else {
            constexpr int kHalf = kCount / 2 * kPerCode * Lanes::kLanes;
            return Lanes::pairwise(sum<kCount / 2>(words), sum<kCount / 2>(words + kHalf));
        }
    }
};

// The distances of kGroup codes in rows of any width up to kMaxPartials registers, the last of which a code may fill in part.
// kWords = 0 is a width known only at run time.
template <int kWords>
struct LongRows {
    static constexpr int kMostWords = 64;
    const int given_words;
    Lanes::Words query_words[kMostWords / Lanes::kLanes];

    LongRows(int words, const uint64_t* q) : given_words(words) {
        int i = 0;
        for (; i < n_whole(); ++i) query_words[i] = Lanes::load(q + i * Lanes::kLanes);
        if (n_rest() > 0) query_words[i] = Lanes::load_first(q + i * Lanes::kLanes, n_rest());
    }

    int n_words() const { return kWords > 0 ? kWords : given_words; }
    int n_whole() const { return n_words() / Lanes::kLanes; }  // registers
    int n_rest() const { return n_words() % Lanes::kLanes; }   // words

    // A register of as many codes as it has lanes at a time, not code by code: the end of a loop over six registers or more is mispredicted.
    void distances(const CodeTile& tile, int64_t j, Lanes::Counts* counts) const {
        for (int v = 0; v < kVectors; ++v) {
            const uint64_t* words = tile.words + (j + v * Lanes::kLanes) * n_words();
            Lanes::Partial partials[Lanes::kLanes];
            for (Lanes::Partial& partial : partials) partial = Lanes::zero();
            int i = 0;
            for (; i < n_whole(); ++i) {
                for (int c = 0; c < Lanes::kLanes; ++c) {
                    const Lanes::Words codes = Lanes::load(words + c * n_words() + i * Lanes::kLanes);
                    partials[c] = Lanes::add(partials[c], Lanes::partial_popcount(codes, query_words[i]));
                }
            }
            if (n_rest() > 0) {
                for (int c = 0; c < Lanes::kLanes; ++c) {
                    const Lanes::Words codes = Lanes::load_first(words + c * n_words() + i * Lanes::kLanes, n_rest());
                    partials[c] = Lanes::add(partials[c], Lanes::partial_popcount(codes, query_words[i]));
                }
            }
            counts[v] = finish<Lanes::kLanes>(partials);
        }
    }

    template <int kCodes>
    static Lanes::Counts finish(const Lanes::Partial* partials) {
        if constexpr (kCodes == 1) {
            return Lanes::finish(*partials);
        } else {
            return Lanes::pairwise(finish<kCodes / 2>(partials), finish<kCodes / 2>(partials + kCodes / 2));
        }
    }
};

// Drops, of the items from `first` on, those of codes that the tile's mask leaves out.
inline void drop_masked(const CodeTile& tile, int64_t first, CandidateList& list) {
    int64_t kept = first;
    for (int64_t i = first; i < list.size; ++i) {
        const int64_t code = item_rank(list.items[i]) - tile.base;
        list.items[kept] = list.items[i];
        kept += tile.mask[code / 8] >> code % 8 & 1;
    }
    list.size = kept;
}

template <class Layout>
void scan_layout(const CodeTile& tile, const Layout& layout, CandidateList& list) {
    Lanes::Counts limit = Lanes::limit(list.limit);
    for (int64_t j = 0; j < tile.count; j += kGroup) {
        Lanes::Counts counts[kVectors];
        layout.distances(tile, j, counts);
        const Lanes::Counts nearest = Lanes::minimum(Lanes::minimum(counts[0], counts[1]), Lanes::minimum(counts[2], counts[3]));
        if (__builtin_expect(Lanes::any_below(nearest, limit), 0)) {
            const int64_t before = list.size;
            for (int v = 0; v < kVectors; ++v) {
                const int64_t first = j + v * Lanes::kLanes;
                // Writes the items of the lanes below the limit, of at most `count - first` lanes, and returns how many.
                list.size += Lanes::take(counts[v], limit, tile.base + first, tile.count - first, list.items + list.size);
            }
            if (tile.mask) drop_masked(tile, before, list);
            if (list.capacity - list.size < kTileGroup) list.full(list);
            limit = Lanes::limit(list.limit);
        }
    }
}

// Rows of kWords words, a word at a time.
template <int kWords>
void scan_words(const CodeTile& tile, const uint64_t* query, CandidateList& list) {
    uint64_t of_query[kWords];
    __builtin_memcpy(of_query, query, sizeof of_query);
    const uint64_t* code = tile.words;
    for (int64_t j = 0; j < tile.count; ++j, code += kWords) {
        uint64_t distance = 0;
        for (int w = 0; w < kWords; ++w) {
            uint64_t word;
            __builtin_memcpy(&word, code + w, sizeof word);  // rows are read where they lie, aligned or not
            distance += popcount(word ^ of_query[w]);
        }
        if (__builtin_expect(distance < list.limit, 0)) {
            if (tile.mask && !(tile.mask[j / 8] >> j % 8 & 1)) continue;
            list.items[list.size++] = make_item(distance, static_cast<uint64_t>(tile.base + j));
            if (list.capacity - list.size < kTileGroup) list.full(list);
        }
    }
}

inline void scan(const CodeTile& tile, int n_words, const uint64_t* query, CandidateList& list) {
    if (tile.code_stride > 1 && Lanes::kLanes > 1) {
        switch (n_words) {
            case 2: return scan_layout(tile, Rows<2>(n_words, query), list);
            case 3: return scan_words<3>(tile, query, list);
            case 4: return scan_layout(tile, Rows<4>(n_words, query), list);
            case 6: return scan_layout(tile, LongRows<6>(n_words, query), list);
            case 8: return scan_layout(tile, Rows<8>(n_words, query), list);
            default: return scan_layout(tile, LongRows<0>(n_words, query), list);
        }
    }
    switch (n_words) {
        case 1: return scan_layout(tile, Planes<1>(n_words, query), list);
        case 2: return scan_layout(tile, Planes<2>(n_words, query), list);
        case 3: return scan_layout(tile, Planes<3>(n_words, query), list);
        case 4: return scan_layout(tile, Planes<4>(n_words, query), list);
        case 8: return scan_layout(tile, Planes<8>(n_words, query), list);
        default: return scan_layout(tile, Planes<0>(n_words, query), list);
    }
}

inline int64_t rows_up_to(int n_words) {
    if (Lanes::kLanes == 1 || n_words == 1) return INT64_MAX;
    return (n_words != 3 || kCountsByWords) && n_words <= Lanes::kMaxPartials * Lanes::kLanes ? 2 : 0;
}

template <class Layout>
void distances_layout(const CodeTile& tile, int n_words, const uint64_t* query, int32_t* out) {
    const Layout layout(n_words, query);
    for (int64_t j = 0; j < tile.count; j += kGroup) {
        Lanes::Counts counts[kVectors];
        layout.distances(tile, j, counts);
        if (tile.count - j >= kGroup) {
            for (int v = 0; v < kVectors; ++v) Lanes::store32(counts[v], out + j + v * Lanes::kLanes);
        } else {
            int32_t rest[kGroup];
            for (int v = 0; v < kVectors; ++v) Lanes::store32(counts[v], rest + v * Lanes::kLanes);
            for (int64_t i = 0; j + i < tile.count; ++i) out[j + i] = rest[i];
        }
    }
}

inline void distances(const CodeTile& tile, int n_words, const uint64_t* query, int32_t* out) {
    if (n_words == 1) return distances_layout<Planes<1>>(tile, n_words, query, out);
    distances_layout<Planes<0>>(tile, n_words, query, out);
}

}  // namespace
}  // namespace fasthash
