#pragma once

#include "kernel.h"

namespace fasthash {
namespace {

// Writes the items of the lanes whose bit is set, of the first `left` ones, and returns how many.
inline int64_t take_lanes(uint32_t lanes, const uint64_t* distances, int64_t rank, int64_t left, uint64_t* items) {
    int64_t taken = 0;
    for (; lanes != 0; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        if (lane >= left) break;
        items[taken++] = make_item(distances[lane], static_cast<uint64_t>(rank + lane));
    }
    return taken;
}

}  // namespace
}  // namespace fasthash
