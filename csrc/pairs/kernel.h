#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

namespace fasthash {

enum class Isa;

// Rows of codes by their words, each to be compared with a run of others. Word w of row t is words[w * stride + t]; kRowSlack words behind the
// last may be read.
struct RowRuns {
    const uint64_t* words;
    int64_t stride;
    int n_words;
    const uint32_t* begins;  // row t is compared with rows begins[t] to ends[t], where that is a run
    const uint32_t* ends;
    uint64_t radius;
};

constexpr int64_t kRowSlack = 8;

// Pairs of rows within the radius, in the order in which they are found.
struct FoundPairs {
    uint64_t* pairs;  // a row in the upper half, one of its run in the lower
    int64_t size;
    int64_t capacity;           // on entry and after `full`, at least kRowSlack more than `size`
    void (*full)(FoundPairs&);  // called when fewer than kRowSlack places are left
};

struct PairsKernel {
    // Appends the pairs of rows [first, last) with those of their runs.
    void (*compare)(const RowRuns& runs, int64_t first, int64_t last, FoundPairs& found);
    double comparison_cost;  // of 64 bits, in nanoseconds
};

PairsKernel pairs_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
