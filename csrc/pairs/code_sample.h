#pragma once

#include <cstdint>
#include <vector>

#include "code_rows.h"
#include "parts.h"

namespace fasthash {

// Codes as evenly far from each other as they lie in memory. Pairs of them tell how often codes agree in some bits, which need not be random.
class CodeSample {
public:
    // The first code is so much of the distance between two of them, 0 to 1, from the first of all.
    CodeSample(const CodeRows& rows, double offset);

    double n_pairs() const { return static_cast<double>(n_) * static_cast<double>(n_ - 1) / 2; }

    // In how many tables two codes meet on average: what the pairs say, or if that is more, what the bits would if they were independent.
    double meetings(const Scheme& scheme) const;

    // How many random bits would tell two codes apart as often as these do, if they are independent.
    double information() const;

    // Parts that tell codes apart as evenly as may be, no matter which bits are constant, or tell what others do.
    Scheme deal(int n_parts, int n_agreeing) const;

private:
    static constexpr int64_t kCodes = 384;
    static constexpr int kLines = kCodes / 64;

    bool bit(int64_t code, int of_code) const { return words_[static_cast<size_t>(code * n_words_ + of_code / 64)] >> of_code % 64 & 1; }
    double independent_meetings(const Scheme& scheme) const;

    const int n_words_, n_bits_;
    const int64_t n_;
    std::vector<uint64_t> words_;      // [n, n_words]
    std::vector<double> information_;  // of each bit: -log2 of the share of pairs that agree in it
};

}  // namespace fasthash
