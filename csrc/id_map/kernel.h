#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

namespace fasthash {

enum class Isa;

// The ids by position. A position is live unless its bit of `live`, n_flags bits, is 0.
struct IdList {
    const int64_t* ids;
    int64_t n;
    const uint8_t* live;
    int64_t n_flags;
};

// Slots, a power of two of them, of which always some are empty. A slot is kEmptySlot, or a position in its low bits and in the
// others such of the hash of the id there as say little of the slot's place.
struct IdTable {
    uint64_t* slots;
    int log2_slots;
};

constexpr int kPositionBits = 40;
constexpr uint64_t kEmptySlot = ~uint64_t{0};

struct IdMapKernel {
    // Adds positions [begin, end), until a live one has the id of another live position: returns it, else -1.
    int64_t (*insert)(const IdTable& table, const IdList& list, int64_t begin, int64_t end);
    // Writes the live position of each id, -1 where there is none.
    void (*find)(const IdTable& table, const IdList& list, const int64_t* sought, int64_t n_sought, int64_t* positions);
};

IdMapKernel id_map_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
