#pragma once

#include "kernel.h"

namespace fasthash {
namespace {

constexpr int64_t kAhead = 16;  // how many slots are fetched before the first is looked at

// Every bit of an id changes half of the bits.
inline uint64_t hash(int64_t id) {
    uint64_t x = static_cast<uint64_t>(id);
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
    return x ^ x >> 32;
}

// One id's way through a table: from the slot that its hash says to the next, until one is empty.
struct Probe {
    const IdTable& table;
    const int64_t id;
    uint64_t tag, slot;

    Probe(const IdTable& t, int64_t sought) : table(t), id(sought) {
        const uint64_t bits = hash(sought);
        slot = bits >> (64 - t.log2_slots);
        tag = bits << t.log2_slots >> kPositionBits;
    }

    uint64_t& content() const { return table.slots[slot]; }
    void prefetch() const { __builtin_prefetch(&table.slots[slot]); }

    void next() { slot = (slot + 1) & ((uint64_t{1} << table.log2_slots) - 1); }

    // Returns the id's live position other than `except`, or -1: it is then at an empty slot, or at that of a position which had
    // the id and is not among `kept`.
    int64_t run(const IdList& list, int64_t except = -1, PositionBits kept = {nullptr, 0}) {
        int64_t reusable = -1;
        for (;; next()) {
            const uint64_t found = content();
            if (found == kEmptySlot) break;
            if (found >> kPositionBits != tag) continue;
            const int64_t position = static_cast<int64_t>(found & ((uint64_t{1} << kPositionBits) - 1));
            if (position >= list.n || position == except || list.ids[position] != id) continue;
            if (list.live[position]) return position;
            if (reusable < 0 && !kept[position]) reusable = static_cast<int64_t>(slot);
        }
        if (reusable >= 0) slot = static_cast<uint64_t>(reusable);
        return -1;
    }
};

int64_t insert(const IdTable& table, const IdList& list, PositionBits kept, int64_t begin, int64_t end) {
    for (int64_t position = begin; position < end; ++position) {
        if (position % kAhead == 0 || position == begin) {
            for (int64_t ahead = position; ahead < end && ahead < position + 2 * kAhead; ++ahead) Probe(table, list.ids[ahead]).prefetch();
        }
        if (!list.live[position]) continue;
        Probe probe(table, list.ids[position]);
        if (probe.run(list, position, kept) >= 0) return position;
        probe.content() = probe.tag << kPositionBits | static_cast<uint64_t>(position);
    }
    return -1;
}

void find(const IdTable& table, const IdList& list, const int64_t* sought, int64_t n_sought, int64_t* positions) {
    for (int64_t i = 0; i < n_sought; ++i) {
        if (i % kAhead == 0) {
            for (int64_t ahead = i; ahead < n_sought && ahead < i + 2 * kAhead; ++ahead) Probe(table, sought[ahead]).prefetch();
        }
        positions[i] = Probe(table, sought[i]).run(list);
    }
}

}  // namespace
}  // namespace fasthash
