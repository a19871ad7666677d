#pragma once

// Included by files compiled for one processor level each, too, so in an anonymous namespace.
#include <cstdint>

namespace fasthash {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t round_up(int64_t a, int64_t multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace
}  // namespace fasthash
