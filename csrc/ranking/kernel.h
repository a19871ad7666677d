#pragma once

// Included by files compiled for one processor level each: see csrc/hamming/kernel.h.
#include "../hamming/kernel.h"

namespace fasthash {

// A code is relevant if its label has a bit of `wanted` or, where not `shared`, is `wanted`.
struct Relevance {
    const int32_t* labels;
    int32_t wanted;
    bool shared;
};

// How many codes, and how many relevant ones, are at the distances 0 to 63. What is not in the numbers yet is in bits: bit d of
// each word of planes[i] stands for 2^i codes at distance d.
struct alignas(64) BitCounts {
    static constexpr int kPlanes = 8;
    struct Plane {
        uint64_t all[8], relevant[8];
    };
    Plane planes[kPlanes];
    uint32_t all[64], relevant[64];
};

struct RankingKernel {
    // Null at the levels that count codes one by one, as is the next one.
    // Counts codes of the tile, one word each, from the first one, and returns how many it counted.
    int64_t (*count)(const CodeTile& tile, uint64_t query, const Relevance& relevance, BitCounts& counts);
    // Adds to the numbers what is in bits.
    void (*finish)(BitCounts& counts);
    void (*widen)(const float* from, int64_t n, double* to);
};

RankingKernel ranking_kernel(Isa isa);  // of the highest level, up to this one, that the room has

}  // namespace fasthash
