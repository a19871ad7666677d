// The scan, written once over a struct `Lanes` that each level's file defines before it includes this one:
//   kLanes            64-bit lanes in a register
//   Words, Partial, Counts   registers of code words, of unfinished counts, of one distance per lane
//   load, broadcast, partial_popcount(a ^ b), add, kMaxPartials (sums before they must be finished), finish, add_counts,
//   minimum, any_below(counts, limit), below (bit per lane), limit(uint64_t), store(uint64_t*), store32(int32_t*)
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#include "kernel.h"

namespace fasthash {
namespace {

// kWords = 0 means a width known only at run time.
template <int kWords>
inline Lanes::Counts distance(const uint64_t* plane, int64_t stride, int n_words, const uint64_t* query) {
    const int words = kWords > 0 ? kWords : n_words;
    Lanes::Partial partial = Lanes::partial_popcount(Lanes::load(plane), Lanes::broadcast(query[0]));
    if (words <= Lanes::kMaxPartials) {
        for (int w = 1; w < words; ++w) {
            partial = Lanes::add(partial, Lanes::partial_popcount(Lanes::load(plane + w * stride), Lanes::broadcast(query[w])));
        }
        return Lanes::finish(partial);
    }
    Lanes::Counts total = Lanes::finish(partial);
    for (int w = 1; w < words;) {
        const int stop = words - w < Lanes::kMaxPartials ? words : w + Lanes::kMaxPartials;
        partial = Lanes::partial_popcount(Lanes::load(plane + w * stride), Lanes::broadcast(query[w]));
        for (++w; w < stop; ++w) {
            partial = Lanes::add(partial, Lanes::partial_popcount(Lanes::load(plane + w * stride), Lanes::broadcast(query[w])));
        }
        total = Lanes::add_counts(total, Lanes::finish(partial));
    }
    return total;
}

constexpr int kVectors = Lanes::kLanes >= 4 ? 4 : 2;
constexpr int kGroup = kVectors * Lanes::kLanes;
static_assert(kTileGroup % kGroup == 0, "a tile is padded to whole groups");

inline void append(const Lanes::Counts* counts, int64_t first, int64_t count, CandidateList& list) {
    uint64_t distances[Lanes::kLanes];
    for (int v = 0; v < kVectors; ++v) {
        uint32_t taken = Lanes::below(counts[v], Lanes::limit(list.limit));
        if (taken == 0) continue;
        Lanes::store(counts[v], distances);
        do {
            const int lane = __builtin_ctz(taken);
            const int64_t rank = first + v * Lanes::kLanes + lane;
            if (rank >= count) break;
            list.items[list.size++] = distances[lane] << kRankBits | static_cast<uint64_t>(rank);
            taken &= taken - 1;
        } while (taken != 0);
    }
    if (list.capacity - list.size < kTileGroup) list.full(list);
}

template <int kWords>
void scan_words(const CodeTile& tile, int n_words, const uint64_t* query, CandidateList& list) {
    Lanes::Counts limit = Lanes::limit(list.limit);
    for (int64_t j = 0; j < tile.count; j += kGroup) {
        Lanes::Counts counts[kVectors];
        for (int v = 0; v < kVectors; ++v) {
            counts[v] = distance<kWords>(tile.planes + j + v * Lanes::kLanes, tile.stride, n_words, query);
        }
        Lanes::Counts nearest = counts[0];
        for (int v = 1; v < kVectors; ++v) nearest = Lanes::minimum(nearest, counts[v]);
        if (__builtin_expect(Lanes::any_below(nearest, limit), 0)) {
            append(counts, tile.base + j, tile.base + tile.count, list);
            limit = Lanes::limit(list.limit);
        }
    }
}

void scan(const CodeTile& tile, int n_words, const uint64_t* query, CandidateList& list) {
    switch (n_words) {
        case 1: return scan_words<1>(tile, n_words, query, list);
        case 2: return scan_words<2>(tile, n_words, query, list);
        case 4: return scan_words<4>(tile, n_words, query, list);
        case 8: return scan_words<8>(tile, n_words, query, list);
        default: return scan_words<0>(tile, n_words, query, list);
    }
}

void distances(const CodeTile& tile, int n_words, const uint64_t* query, int32_t* out) {
    int64_t j = 0;
    for (; j + Lanes::kLanes <= tile.count; j += Lanes::kLanes) {
        Lanes::store32(distance<0>(tile.planes + j, tile.stride, n_words, query), out + j);
    }
    if (j < tile.count) {
        int32_t rest[Lanes::kLanes];
        Lanes::store32(distance<0>(tile.planes + j, tile.stride, n_words, query), rest);
        for (int lane = 0; j < tile.count; ++j, ++lane) out[j] = rest[lane];
    }
}

}  // namespace
}  // namespace fasthash
