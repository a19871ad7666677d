// Each level's file includes this one. Everything is in an anonymous namespace, so that no level's code can stand in for another's at
// link time.
#pragma once

#include <cstdint>

namespace fasthash {
namespace {

void widen(const float* from, int64_t n, double* to) {
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<double>(from[i]);
}

}  // namespace
}  // namespace fasthash
