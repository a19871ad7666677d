#pragma once

// Included by files compiled for one processor level each: no standard library but this header,
// and nothing inline that another level could share.
#include <cstdint>

#include "../hamming/kernel.h"
#include "layout.h"

namespace fasthash {

// A query as the filter reads it.
struct StoredQuery {
    // Where the planes that are added are, in words from the same line of a block's first plane: whole blocks, filled up with zeros.
    const int64_t* planes;
    int n_blocks, n_small_blocks;
    int n_planes;     // without those of zeros
    bool complement;  // whether the planes are those where the query is 0
};

// Lines [first_line, first_line + n_lines) of a block.
struct StoredTile {
    const uint64_t* block;
    const uint8_t* mask;  // the block's eligible codes, a bit each; null for all
    int64_t base;         // the position of the block's first code
    int64_t first_line, n_lines;
    // With each line, those of these planes that come so many lines later are fetched, and those that the query adds, if it is to.
    const int64_t* fetched;
    int64_t n_fetched, lines_ahead;
    bool fetches_its_own;
};

struct PlanesKernel {
    // Writes codes to the places [first, first + count) of a block. `every` is a query of every plane.
    void (*write)(const uint8_t* codes, int n_bits, int64_t first, int64_t count, const StoredQuery& every, uint64_t* block);
    // Reads them back.
    void (*read)(const uint64_t* block, int n_bits, int64_t first, int64_t count, uint8_t* codes);
    // Appends to `list` the eligible codes of the tile whose distance to the query is below the list's limit.
    void (*filter)(const StoredTile& tile, int n_bits, const StoredQuery& query, CandidateList& list);
};

PlanesKernel planes_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
