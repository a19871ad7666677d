#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "../hamming/code_set.h"
#include "kernel.h"

namespace fasthash {

// Codes as planes in memory that somebody else owns: blocks one after the other, of which those that codes are in are read.
class StoredCodes {
public:
    const uint64_t* const blocks;
    const int64_t n_codes;
    const int n_bytes;
    const PlanesKernel kernel;

    // `mask` has a bit for each code, or is null.
    StoredCodes(const uint64_t* blocks, int64_t n_codes, int n_bytes, const uint8_t* mask, const PlanesKernel& kernel);

    int n_words() const { return (n_bytes + 7) / 8; }
    int64_t n_bits() const { return int64_t{8} * n_bytes; }
    int query_bytes() const { return n_bytes; }
    int64_t max_distance() const { return n_bits(); }
    int64_t n_eligible() const { return n_eligible_; }
    const Mask* ranks() const { return nullptr; }  // a scan finds ids

    const uint64_t* block(int64_t i) const { return blocks + i * block_words(static_cast<int>(n_bits())); }
    const uint8_t* block_mask(int64_t i) const;  // a bit for each of the block's places; null where all have eligible codes

private:
    const uint8_t* const mask_;
    std::vector<uint8_t> last_mask_;  // of a last block that is not full
    int64_t n_eligible_;
};

// Writes codes to the places from `first` on.
void write_codes(const uint8_t* codes, int64_t n_codes, int n_bytes, int64_t first, const PlanesKernel& kernel, int threads,
                 const std::function<bool()>& interrupted, uint64_t* blocks);

// Reads the codes at the places from `first` on.
void read_codes(const uint64_t* blocks, int64_t n_codes, int n_bytes, int64_t first, const PlanesKernel& kernel, int threads,
                const std::function<bool()>& interrupted, uint8_t* codes);

// Reads the codes at some places.
void gather_codes(const uint64_t* blocks, const int64_t* positions, int64_t n_positions, int n_bytes, int threads,
                  const std::function<bool()>& interrupted, uint8_t* codes);

}  // namespace fasthash
