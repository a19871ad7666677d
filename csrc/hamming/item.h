#pragma once

// Included by files compiled for one processor level each, too, so in an anonymous namespace.
#include <cstdint>

namespace fasthash {
namespace {

// What a search finds: the distance of a code above its rank among the eligible ones, or above its id. Items sort as hits do.
constexpr int kRankBits = 44;  // leaves 20 for the distance, of which weighted ones take as many

inline uint64_t make_item(uint64_t distance, uint64_t rank) { return distance << kRankBits | rank; }
inline uint64_t item_distance(uint64_t item) { return item >> kRankBits; }
inline int64_t item_rank(uint64_t item) { return static_cast<int64_t>(item & ((uint64_t{1} << kRankBits) - 1)); }

}  // namespace
}  // namespace fasthash
