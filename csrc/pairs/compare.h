// The comparison of rows, written once over a struct `Lanes` that each level's file defines before it includes this one:
//   kLanes       64-bit lanes in a register
//   Words        a register
//   load, broadcast, add, differing (the bits in which two differ, counted by lane), at_most (a bit for each lane that is)
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "kernel.h"

namespace fasthash {
namespace {

static_assert(Lanes::kLanes <= kRowSlack);

// kWords = 0 is a width known only at run time.
template <int kWords>
void compare_rows(const RowRuns& runs, int64_t first, int64_t last, FoundPairs& found) {
    const int n_words = kWords > 0 ? kWords : runs.n_words;
    const Lanes::Words limit = Lanes::broadcast(runs.radius);
    for (int64_t row = first; row < last; ++row) {
        const int64_t end = runs.ends[row];
        if (runs.begins[row] >= end) continue;
        const uint64_t* const own = runs.words + row;
        Lanes::Words words[kWords > 0 ? kWords : 1];
        for (int w = 0; w < kWords; ++w) words[w] = Lanes::broadcast(own[w * runs.stride]);
        for (int64_t at = runs.begins[row]; at < end; at += Lanes::kLanes) {
            const uint64_t* const others = runs.words + at;
            Lanes::Words distances = Lanes::differing(Lanes::load(others), kWords > 0 ? words[0] : Lanes::broadcast(own[0]));
            for (int w = 1; w < n_words; ++w) {
                const Lanes::Words word = kWords > 0 ? words[w] : Lanes::broadcast(own[w * runs.stride]);
                distances = Lanes::add(distances, Lanes::differing(Lanes::load(others + w * runs.stride), word));
            }
            uint32_t near = Lanes::at_most(distances, limit);
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
