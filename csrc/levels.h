#pragma once

#include <cstddef>

#include "cpu_features.h"

namespace fasthash {

// A room's functions at one processor level.
template <class Functions>
struct Level {
    Isa isa;
    Functions (*functions)();
};

// The functions of the highest level in a room's table, baseline first and ascending, that is at most `isa`.
template <class Functions, size_t kLevels>
Functions at_level(const Level<Functions> (&levels)[kLevels], Isa isa) {
    size_t highest = 0;
    while (highest + 1 < kLevels && levels[highest + 1].isa <= isa) ++highest;
    return levels[highest].functions();
}

}  // namespace fasthash
