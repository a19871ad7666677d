// The comparison of rows, written once over the struct `Lanes` of csrc/hamming that each level's file includes before this one, of which it uses
//   kLanes, Words, Partial, Counts, load, broadcast, partial_popcount, zero, add, kMaxPartials, finish, zero_counts, add_counts,
//   limit, below: see csrc/hamming/scan.h.
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "kernel.h"

namespace fasthash {
namespace {

static_assert(Lanes::kLanes <= kRowSlack);

// The distances of one register of rows from a row, whose words are `stride` apart as theirs are.
template <int kWords>
Lanes::Counts differing(const uint64_t* rows, const uint64_t* row, const Lanes::Words* words, int n_words, int64_t stride) {
    if constexpr (kWords > 0) {
        static_assert(kWords <= Lanes::kMaxPartials);
        Lanes::Partial partial = Lanes::partial_popcount(Lanes::load(rows), words[0]);
        for (int w = 1; w < kWords; ++w) partial = Lanes::add(partial, Lanes::partial_popcount(Lanes::load(rows + w * stride), words[w]));
        return Lanes::finish(partial);
    }
    Lanes::Counts counts = Lanes::zero_counts();
    for (int w = 0; w < n_words;) {
        const int stop = n_words - w > Lanes::kMaxPartials ? w + Lanes::kMaxPartials : n_words;
        Lanes::Partial partial = Lanes::zero();
        for (; w < stop; ++w) {
            const Lanes::Words word = Lanes::broadcast(row[w * stride]);
            partial = Lanes::add(partial, Lanes::partial_popcount(Lanes::load(rows + w * stride), word));
        }
        counts = Lanes::add_counts(counts, Lanes::finish(partial));
    }
    return counts;
}

// kWords = 0 is a width known only at run time.
template <int kWords>
void compare_rows(const RowRuns& runs, int64_t first, int64_t last, FoundPairs& found) {
    const Lanes::Counts limit = Lanes::limit(runs.radius + 1);
    for (int64_t row = first; row < last; ++row) {
        const int64_t end = runs.ends[row];
        if (runs.begins[row] >= end) continue;
        const uint64_t* const own = runs.words + row;
        Lanes::Words words[kWords > 0 ? kWords : 1];
        for (int w = 0; w < kWords; ++w) words[w] = Lanes::broadcast(own[w * runs.stride]);
        for (int64_t at = runs.begins[row]; at < end; at += Lanes::kLanes) {
            uint32_t near = Lanes::below(differing<kWords>(runs.words + at, own, words, runs.n_words, runs.stride), limit);
            if (near == 0) continue;
            if (end - at < Lanes::kLanes) near &= (1u << (end - at)) - 1;
            for (; near != 0; near &= near - 1) {
                const uint64_t other = static_cast<uint64_t>(at + __builtin_ctz(near));
                found.pairs[found.size++] = static_cast<uint64_t>(row) << 32 | other;
            }
            if (found.size > found.capacity - kRowSlack) found.full(found);
        }
    }
}

void compare(const RowRuns& runs, int64_t first, int64_t last, FoundPairs& found) {
    switch (runs.n_words) {
        case 1: return compare_rows<1>(runs, first, last, found);
        case 2: return compare_rows<2>(runs, first, last, found);
        case 4: return compare_rows<4>(runs, first, last, found);
        default: return compare_rows<0>(runs, first, last, found);
    }
}

}  // namespace
}  // namespace fasthash
