#include "code_sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "../popcount.h"

namespace fasthash {

CodeSample::CodeSample(const CodeRows& rows, double offset)
    : n_words_(rows.n_words()),
      n_bits_(8 * rows.n_bytes),
      n_(std::min(rows.size(), kCodes)),
      words_(static_cast<size_t>(n_ * n_words_)),
      information_(static_cast<size_t>(n_bits_), 1) {
    const int64_t first = n_ > 0 ? static_cast<int64_t>(offset * static_cast<double>(rows.size() / n_)) : 0;
    for (int64_t i = 0; i < n_; ++i) rows.read(rows.id(first + i * (rows.size() / n_)), words_.data() + i * n_words_);
    if (n_ < 2) return;
    for (int b = 0; b < n_bits_; ++b) {
        int64_t ones = 0;
        for (int64_t i = 0; i < n_; ++i) ones += bit(i, b);
        const double differing = static_cast<double>(ones) * static_cast<double>(n_ - ones);
        information_[static_cast<size_t>(b)] = -std::log2(std::max(1 - differing / n_pairs(), 1 / n_pairs()));
    }
}

double CodeSample::meetings(const Scheme& scheme) const {
    int64_t sum = 0;
    std::vector<uint64_t> differing(static_cast<size_t>(n_words_));
    std::vector<int64_t> ways(static_cast<size_t>(scheme.n_parts()) + 1, 0);  // by how many parts agree
    for (int k = scheme.n_agreeing; k <= scheme.n_parts(); ++k) {
        double of_k = 1;
        for (int i = 0; i < scheme.n_agreeing; ++i) of_k *= static_cast<double>(k - i) / (i + 1);
        ways[static_cast<size_t>(k)] = std::llround(of_k);
    }
    for (int64_t i = 0; i < n_; ++i) {
        for (int64_t j = i + 1; j < n_; ++j) {
            for (int w = 0; w < n_words_; ++w) {
                differing[static_cast<size_t>(w)] =
                    words_[static_cast<size_t>(i * n_words_ + w)] ^ words_[static_cast<size_t>(j * n_words_ + w)];
            }
            size_t agreeing = 0;
            for (const Part& part : scheme.parts) agreeing += !part.differs(differing.data());
            sum += ways[agreeing];
        }
    }
    return std::max(independent_meetings(scheme), n_ > 1 ? static_cast<double>(sum) / n_pairs() : 0);
}

// The sum over all choices of parts of the product of how often they agree.
double CodeSample::independent_meetings(const Scheme& scheme) const {
    std::vector<double> sums(static_cast<size_t>(scheme.n_agreeing) + 1, 0);  // of choices of so many of the parts so far
    sums[0] = 1;
    for (const Part& part : scheme.parts) {
        double information = 0;
        for (const WordBits& of : part.words) {
            for (uint64_t bits = of.bits; bits != 0; bits &= bits - 1) {
                information += information_[static_cast<size_t>(64 * of.word + __builtin_ctzll(bits))];
            }
        }
        for (size_t k = sums.size() - 1; k > 0; --k) sums[k] += sums[k - 1] * std::exp2(-information);
    }
    return sums.back();
}

double CodeSample::information() const { return std::accumulate(information_.begin(), information_.end(), 0.0); }

// One bit after the other, the most telling first, goes to the part where it tells most pairs apart that the part's other bits do not.
Scheme CodeSample::deal(int n_parts, int n_agreeing) const {
    using Codes = std::array<uint64_t, kLines>;  // a bit for each code
    Codes every{};
    for (int64_t i = 0; i < n_; ++i) every[static_cast<size_t>(i / 64)] |= uint64_t{1} << i % 64;
    std::vector<int> order(static_cast<size_t>(n_bits_));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return information_[static_cast<size_t>(a)] > information_[static_cast<size_t>(b)]; });

    Scheme scheme{std::vector<Part>(static_cast<size_t>(n_parts)), n_agreeing};
    // For each part and code, those that agree with it in the part.
    std::vector<std::vector<Codes>> agreeing(static_cast<size_t>(n_parts), std::vector<Codes>(static_cast<size_t>(n_), every));
    std::vector<double> information(static_cast<size_t>(n_parts), 0);
    for (int b : order) {
        Codes ones{};
        for (int64_t i = 0; i < n_; ++i) ones[static_cast<size_t>(i / 64)] |= uint64_t{bit(i, b)} << i % 64;
        size_t best = 0;
        int64_t most = -1;
        for (size_t p = 0; p < agreeing.size(); ++p) {
            int64_t told_apart = 0;
            for (int64_t i = 0; i < n_; ++i) {
                const uint64_t own = bit(i, b) ? ~uint64_t{0} : 0;
                for (size_t line = 0; line < kLines; ++line) {
                    told_apart += static_cast<int64_t>(popcount(agreeing[p][static_cast<size_t>(i)][line] & (ones[line] ^ own)));
                }
            }
            if (told_apart > most || (told_apart == most && information[p] < information[best])) {
                best = p;
                most = told_apart;
            }
        }
        scheme.parts[best].add(bit_of_code(b));
        information[best] += information_[static_cast<size_t>(b)];
        for (int64_t i = 0; i < n_; ++i) {
            const uint64_t own = bit(i, b) ? ~uint64_t{0} : 0;
            for (size_t line = 0; line < kLines; ++line) agreeing[best][static_cast<size_t>(i)][line] &= ~(ones[line] ^ own);
        }
    }
    return scheme;
}

}  // namespace fasthash
