#pragma once

#include <cstddef>

#include "cpu_features.h"

namespace fasthash {

// A room's kernel at one processor level.
template <class Kernel>
struct KernelAtLevel {
    Isa isa;
    Kernel (*kernel)();
};

// The highest level in a room's table, baseline first and ascending, that is at most `isa`.
template <class Kernel, size_t kLevels>
const KernelAtLevel<Kernel>& highest_level(const KernelAtLevel<Kernel> (&levels)[kLevels], Isa isa) {
    size_t highest = 0;
    while (highest + 1 < kLevels && levels[highest + 1].isa <= isa) ++highest;
    return levels[highest];
}

// Its kernel.
template <class Kernel, size_t kLevels>
Kernel highest_kernel(const KernelAtLevel<Kernel> (&levels)[kLevels], Isa isa) {
    return highest_level(levels, isa).kernel();
}

}  // namespace fasthash
