#pragma once

// Included by files compiled for one processor level each, too, so in an anonymous namespace.
#include <cstdint>

#include "../hamming/plane_layout.h"

namespace fasthash {
namespace {

// A block of codes as planes: bit i of a plane is code i. Its lines are an odd number, so that those at the same place of different planes are in
// different sets of a cache.
constexpr int64_t kLineWords = 8, kLineCodes = 64 * kLineWords;
constexpr int64_t kPlaneLines = 33;
constexpr int64_t kBlockCodes = kPlaneLines * kLineCodes;

// The planes of a block: those of the codes' bits, then those of popcount + n_bits / 2, from the lowest bit up. It has none of zeros.
inline PlaneLayout block_layout(int n_bits) { return plane_layout(n_bits, kPlaneLines * kLineWords); }
inline int64_t block_words(int n_bits) { return block_layout(n_bits).zeros; }
inline int64_t block_planes(int n_bits) { return n_bits + block_layout(n_bits).counters + 1; }

}  // namespace
}  // namespace fasthash
