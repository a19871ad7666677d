#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include <cstddef>
#include <cstdint>

namespace fasthash {

enum class Isa;

// Bits of positions, 1 beyond their end.
struct PositionBits {
    const uint8_t* bits;
    int64_t n;

    bool operator[](int64_t position) const { return position >= n || (bits[position / 8] >> position % 8 & 1) != 0; }
};

// The ids by position, and which positions are live.
struct IdList {
    const int64_t* ids;
    int64_t n;
    PositionBits live;
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
    // Adds the live ones of positions [begin, end), until one has the id of another live position: returns it, else -1.
    // An id that was at a position which is not among `kept` takes its slot.
    int64_t (*insert)(const IdTable& table, const IdList& list, PositionBits kept, int64_t begin, int64_t end);
    // Writes the live position of each id, -1 where there is none.
    void (*find)(const IdTable& table, const IdList& list, const int64_t* sought, int64_t n_sought, int64_t* positions);
};

IdMapKernel id_map_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
