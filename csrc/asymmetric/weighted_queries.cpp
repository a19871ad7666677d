#include "weighted_queries.h"

#include <algorithm>
#include <cstdlib>

#include "../rounding.h"

namespace fasthash {

namespace {

int bits_of(uint64_t x) { return x == 0 ? 0 : 64 - __builtin_clzll(x); }

PlaneRun run_of(int n_planes) {
    const int n_large = n_planes >> kLargeBits, left = n_planes - (n_large << kLargeBits);
    return {n_large, static_cast<int>(ceil_div(left, 1 << kSmallBits))};
}

int planes_of(const PlaneRun& run) { return (run.n_large << kLargeBits) + (run.n_small << kSmallBits); }

}  // namespace

WeightedQueries::WeightedQueries(const QuerySet& queries, int n_bits, int64_t first, int64_t last, int64_t plane_words)
    : plane_words_(plane_words) {
    for (int64_t i = first; i < last; ++i) add(reinterpret_cast<const int8_t*>(queries.codes) + i * n_bits, n_bits);
}

void WeightedQueries::add(const int8_t* weights, int n_bits) {
    int64_t positive = 0, total = 0;
    int largest = 0;
    for (int bit = 0; bit < n_bits; ++bit) {
        positive += std::max<int>(weights[bit], 0);
        total += std::abs(weights[bit]);
        largest = std::max(largest, std::abs(weights[bit]));
    }
    const int n_columns = bits_of(static_cast<uint64_t>(largest));
    Lists lists{words_.size(), runs_.size(), planes_.size(), n_columns, 0, positive, total};

    words_.resize(words_.size() + static_cast<size_t>(ceil_div(n_bits, 64) * (1 + n_columns)));
    for (int bit = 0; bit < n_bits; ++bit) {
        uint64_t* const words = words_.data() + lists.words + bit / 64 * (1 + n_columns);
        words[0] |= uint64_t{weights[bit] > 0} << bit % 64;
        for (int column = 0; column < n_columns; ++column) {
            words[1 + column] |= static_cast<uint64_t>(std::abs(weights[bit]) >> column & 1) << bit % 64;
        }
    }

    for (int column = 0; column < n_columns; ++column) {
        for (int sign : {-1, 1}) add_run(weights, n_bits, column % 2 == 0 ? sign : -sign, column);
    }
    lists.n_counters = std::max(kMinCounters, bits_of(static_cast<uint64_t>(total + 1)) + 1);
    lists_.push_back(lists);
}

void WeightedQueries::add_run(const int8_t* weights, int n_bits, int sign, int column) {
    const size_t first = planes_.size();
    for (int bit = 0; bit < n_bits; ++bit) {
        const int weight = sign * weights[bit];
        if (weight > 0 && weight >> column & 1) planes_.push_back(static_cast<uint16_t>(bit * plane_words_));
    }
    runs_.push_back(run_of(static_cast<int>(planes_.size() - first)));
    planes_.resize(first + static_cast<size_t>(planes_of(runs_.back())), static_cast<uint16_t>(n_bits * plane_words_));
}

WeightedQuery WeightedQueries::operator[](int64_t i) const {
    const Lists& lists = lists_[static_cast<size_t>(i)];
    return {words_.data() + lists.words,
            runs_.data() + lists.runs,
            planes_.data() + lists.planes,
            lists.n_columns,
            lists.n_counters,
            lists.positive,
            lists.total};
}

}  // namespace fasthash
