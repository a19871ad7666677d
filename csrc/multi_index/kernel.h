#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

#include "../hamming/item.h"

namespace fasthash {

enum class Isa;

// Eight bytes of a code, or all of a shorter one, from which a table's key is cut: word(code + byte) >> shift & mask.
struct Substring {
    int32_t byte;
    int32_t shift;
    uint64_t mask;
};

// Entries [begin, end) of a table, which have one key.
struct Bucket {
    uint32_t begin, end;
};

// One query at one step: the buckets of one table whose keys differ from the query's in `radius` bits.
struct Probe {
    const uint8_t* codes;  // of the set, in rows of n_bytes
    int64_t n_bytes;
    const uint8_t* query;
    const Substring* substrings;  // of every table
    const uint32_t* keys;         // of the query, in every table
    int64_t n_tables;
    int64_t table;
    uint64_t radius;
    const uint32_t* ids;    // of the table's entries
    const uint64_t* words;  // of the table's entries, a word of the code each; null in the compact layout
    uint64_t query_word;
    uint64_t limit;  // a code is wanted when its distance is not above this
};

constexpr int64_t kSelectSlack = 8;

struct MultiIndexKernel {
    // Writes the entries of the buckets that may be wanted and returns how many; kSelectSlack more places may be written.
    int64_t (*select)(const Probe& probe, const Bucket* buckets, int64_t n_buckets, uint32_t* entries);
    // Writes the wanted codes among the entries, as items with ids, but those that an earlier step has found. Overwrites the entries.
    int64_t (*verify)(const Probe& probe, uint32_t* entries, int64_t n_entries, uint64_t* items);
    double popcount_cost;  // of a candidate, in nanoseconds, where there is no instruction for it
};

MultiIndexKernel multi_index_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
