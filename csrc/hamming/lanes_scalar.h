// One code at a time, for the levels without vector popcounts.
#pragma once

#include "../popcount.h"
#include "kernel.h"

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 1;
    static constexpr int kMaxPartials = 1 << 20;
    using Words = uint64_t;
    using Partial = uint64_t;
    using Counts = uint64_t;

    static Words load(const uint64_t* p) {
        uint64_t word;
        __builtin_memcpy(&word, p, sizeof word);  // 8-byte codes are read where they lie, aligned or not
        return word;
    }
    static Words broadcast(uint64_t word) { return word; }
    static Partial partial_popcount(Words a, Words b) { return popcount(a ^ b); }
    using Split = uint64_t;
    static Split split(Words a) { return a; }
    static Partial popcount_of_both(Split a, Split b) { return popcount(a & b); }
    static Partial zero() { return 0; }
    static Partial add(Partial a, Partial b) { return a + b; }
    static Counts finish(Partial a) { return a; }
    static Counts zero_counts() { return 0; }
    static Counts add_counts(Counts a, Counts b) { return a + b; }
    static Counts minimum(Counts a, Counts b) { return a < b ? a : b; }
    static Counts limit(uint64_t value) { return value; }
    static bool any_below(Counts a, Counts limit) { return a < limit; }
    static uint32_t below(Counts a, Counts limit) { return a < limit; }
    static void store32(Counts a, int32_t* out) { *out = static_cast<int32_t>(a); }
    static int64_t take(Counts a, Counts limit, int64_t rank, int64_t left, uint64_t* item) {
        *item = make_item(a, static_cast<uint64_t>(rank));
        return (a < limit) & (left > 0);
    }

    // A register of one word is never filled in part, nor summed with another.
    static Words load_first(const uint64_t* p, int) { return load(p); }
    template <int>
    static Words repeat(const uint64_t* words) {
        return *words;
    }
    static Counts pairwise(Counts a, Counts) { return a; }
};

}  // namespace
}  // namespace fasthash
