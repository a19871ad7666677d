#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernel.h"

namespace fasthash {

constexpr int kMaxBits = 4096;  // of a code

// A bitmap over the codes (bit i % 8 of byte i / 8), able to turn the rank of an eligible code into its id.
class Mask {
public:
    static constexpr int64_t kBlock = 4096;  // codes per counted block

    Mask(const uint8_t* bits, int64_t n_codes);

    int64_t n_eligible() const { return eligible_before_.back(); }
    int64_t n_scattered() const { return n_eligible() - 64 * n_full_; }  // without those of words whose codes are all eligible
    int64_t eligible_before_block(int64_t block) const { return eligible_before_[static_cast<size_t>(block)]; }
    int64_t id(int64_t rank) const;
    bool eligible(int64_t id) const { return bits_[id / 8] >> id % 8 & 1; }
    uint64_t word(int64_t i) const;                                   // bits 64 i to 64 i + 63, zero past the last code
    const uint8_t* from(int64_t id) const { return bits_ + id / 8; }  // of a multiple of 8

private:
    const uint8_t* bits_;
    int64_t n_codes_;
    std::vector<int64_t> eligible_before_;
    int64_t n_full_ = 0;  // words
};

// Row-major packed codes in memory that somebody else owns.
struct CodeSet {
    const uint8_t* codes;
    int64_t n_codes;
    int n_bytes;
    const Mask* mask;    // null: every code is eligible
    bool gather = true;  // tiles of the eligible codes alone, numbered by rank; else of all, numbered by id, with their share of the mask

    int n_words() const { return (n_bytes + 7) / 8; }
    int64_t n_bits() const { return int64_t{8} * n_bytes; }
    int query_bytes() const { return n_bytes; }
    int64_t max_distance() const { return n_bits(); }
    int64_t n_eligible() const { return mask ? mask->n_eligible() : n_codes; }
    const Mask* ranks() const {
        return gather ? mask : nullptr;
    }  // what turns the ranks that a scan finds into ids, null where they are ids
};

// Copies one code into words a `stride` apart, the rest of the last word zero.
void code_to_words(const uint8_t* code, int n_bytes, uint64_t* words, int64_t stride);

constexpr int64_t kTileBytes = 16384;  // half of a first-level cache

// Walks the codes of a set with ids in [begin, end) as tiles: rows of `rows_bytes` in all, where they lie, if that is not
// 0 and the width allows it, else planes of whole groups of codes, `planes_bytes` in all or one group. `begin` is a multiple of
// Mask::kBlock. A tile is valid until the next call.
class TileReader {
public:
    TileReader(const CodeSet& set, int64_t begin, int64_t end, int64_t rows_bytes, int64_t planes_bytes = kTileBytes,
               int64_t group = kTileGroup);
    bool next(CodeTile& tile, int64_t most = INT64_MAX);  // of at most so many codes, a multiple of kTileGroup and, with a mask, of 64
    // Asks for part `part` of `parts` of the `count` codes that follow the tile, before they are waited for.
    void prefetch(int64_t count, int64_t part, int64_t parts) const;
    int64_t most_codes() const { return std::max(tile_codes_, rows_bytes_ / set_.n_bytes); }  // of a tile

private:
    bool emit_rows(CodeTile& tile, int64_t count);
    bool copied(CodeTile& tile, int64_t most);
    bool gathered(CodeTile& tile, int64_t most);
    bool emit_planes(CodeTile& tile, int64_t count);
    const uint8_t* mask_beside() const { return set_.mask && !gathered_ ? set_.mask->from(at_) : nullptr; }
    void prefetch_scattered(int64_t first) const;
    void skip(int64_t count);
    int64_t eligible_run(int64_t most) const;
    int64_t rows_fitting() const;
    template <int kWords>
    void copy_words(int64_t count, int64_t column);
    void copy(int64_t count, int64_t column);
    void place(int64_t id, int64_t column);

    const CodeSet set_;
    const Mask* const gathered_;  // of the codes that are gathered, or null
    const int64_t rows_bytes_;
    const int64_t tile_codes_;  // of planes
    const int64_t rows_run_;    // so many eligible codes in a row are worth a tile of their own
    const int64_t stride_;      // words from a plane to the next
    const uint64_t last_word_mask_;
    const int64_t n_overreadable_;  // codes from whose last word eight bytes can be read
    int64_t at_;
    const int64_t end_;
    int64_t rank_;
    uint64_t pending_ = 0;  // bits of the mask word at `at_` not gathered yet
    std::vector<uint64_t> memory_;
    uint64_t* const planes_;  // in memory_, aligned to a cache line
};

}  // namespace fasthash
