#pragma once

#include <cstdint>
#include <functional>

namespace fasthash {

// Which places of rankings have a relevant code: bit i % 8 of byte i / 8 of a row for place i.
struct PlaceBits {
    const uint8_t* bits;
    int64_t n_rows, n_bytes;
};

// For each row how many bits are set, and the mean over them of the share of bits set up to each; 0 where there is none.
void average_precision(const PlaceBits& places, int threads, const std::function<bool()>& interrupted, int64_t* found, double* averages);

// For each place the sum of the weights of the rows whose bit is set there, in the order of the rows: [8 n_bytes].
void weight_by_place(const PlaceBits& places, const double* weights, int threads, const std::function<bool()>& interrupted, double* sums);

}  // namespace fasthash
