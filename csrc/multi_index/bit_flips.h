#pragma once

#include <cstdint>

namespace fasthash {

// The numbers of `width` bits of which `radius` are set, in ascending order: what turns a key into those at that distance from it.
class BitFlips {
public:
    BitFlips(int width, uint64_t radius) : next_((uint64_t{1} << radius) - 1), end_(uint64_t{1} << width) {}

    bool done() const { return next_ >= end_; }

    // Writes the next ones, `capacity` at most, and returns how many.
    int64_t fill(uint32_t* flips, int64_t capacity) {
        int64_t n = 0;
        uint64_t flip = next_;
        while (n < capacity && flip < end_) {
            flips[n++] = static_cast<uint32_t>(flip);
            if (flip == 0) flip = end_;
            const uint64_t carried = flip + (flip & (~flip + 1));
            flip = (carried ^ flip) >> 2 >> __builtin_ctzll(flip) | carried;
        }
        next_ = flip;
        return n;
    }

private:
    uint64_t next_;
    const uint64_t end_;
};

}  // namespace fasthash
