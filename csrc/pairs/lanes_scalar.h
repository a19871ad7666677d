// One code at a time, counted as the level whose file includes it can.
#pragma once

#include "../popcount.h"
#include "kernel.h"

namespace fasthash {
namespace {

struct Lanes {
    static constexpr int kLanes = 1;
    using Words = uint64_t;

    static Words load(const uint64_t* p) { return *p; }
    static Words broadcast(uint64_t word) { return word; }
    static Words add(Words a, Words b) { return a + b; }
    static Words differing(Words a, Words b) { return popcount(a ^ b); }
    static uint32_t at_most(Words a, Words limit) { return a <= limit; }
};

}  // namespace
}  // namespace fasthash
