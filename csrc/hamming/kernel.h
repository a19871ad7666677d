#pragma once

// Included by files compiled for one processor level each: no standard library but these two headers,
// and nothing inline that another level could share.
#include <cstddef>
#include <cstdint>

#include "item.h"

namespace fasthash {

enum class Isa;

// A run of codes as 64-bit words: word w of code j is words[j * code_stride + w * word_stride].
// A tile is either planes (code_stride 1: the same word of all codes lies together) or rows (word_stride 1: codes lie
// as the user has them). A width that is no multiple of 64 bits is in planes, with zeros in the rest of its last word.
struct CodeTile {
    const uint64_t* words;
    int64_t code_stride;
    int64_t word_stride;
    int64_t count;                  // a multiple of kTileGroup codes may be read, those past `count` being padding
    int64_t base;                   // the rank of code 0
    const uint8_t* mask = nullptr;  // a bit for each code, whether it may be taken; null where all may
};

constexpr int64_t kTileGroup = 32;

// What one query has found so far, in ascending order of rank.
struct CandidateList {
    uint64_t* items;
    int64_t size;
    int64_t capacity;  // on entry to a scan and after `full`, at least kTileGroup more than `size`
    uint64_t limit;    // a code is taken when its distance is below this
    int64_t k;
    void (*full)(CandidateList&);  // called when fewer than kTileGroup places are left
};

// A query as the filter on bit planes reads it.
struct PlaneQuery {
    const uint64_t* words;
    const uint16_t* planes;  // where the planes that are added begin in a group, in words: whole blocks, filled up with that of zeros
    int n_blocks, n_small_blocks;
    int n_planes;     // without those of zeros
    bool complement;  // whether the planes are those where the query is 0
};

// The filter on bit planes; see fasthash/ops/hamming/README.md. The planes of a tile are those of each group of its codes, as PlaneLayout has them.
struct PlaneFilter {
    int64_t group;  // of so many codes, 64 for each word of a plane
    // Makes the planes of a tile, whose code_stride is 1. `every` is a query of every plane.
    void (*make)(const CodeTile& tile, int n_bits, const PlaneQuery& every, uint64_t* planes);
    // Does what a scan does.
    void (*filter)(const CodeTile& tile, const uint64_t* planes, int n_bits, const PlaneQuery& query, CandidateList& list);
    int64_t (*from_queries)(int n_bits);  // for how many queries at least making planes pays
    double comparison_cost;               // of 64 bits, in nanoseconds
};

struct HammingKernel {
    // Appends to `list` the codes of the tile whose distance to the query is below the list's limit.
    void (*scan)(const CodeTile& tile, int n_words, const uint64_t* query, CandidateList& list);
    // Writes the distance of every code of the tile.
    void (*distances)(const CodeTile& tile, int n_words, const uint64_t* query, int32_t* out);
    // For how many queries at most it is faster to read rows than to make planes first; 0 where only planes are read.
    int64_t (*rows_up_to)(int n_words);
    PlaneFilter planes;
    double comparison_cost;  // of 64 bits, in nanoseconds, when the codes are in the cache; see fasthash/index/README.md
};

HammingKernel hamming_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
