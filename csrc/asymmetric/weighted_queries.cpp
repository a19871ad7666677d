#include "weighted_queries.h"

#include <algorithm>
#include <cstdlib>

#include "../popcount.h"
#include "../rounding.h"

namespace fasthash {

namespace {

constexpr int kSmall = 1 << kSmallBits, kSmallInLarge = 1 << (kLargeBits - kSmallBits);
// What to leave out is decided after so many groups, or so many codes that passed.
constexpr int64_t kGroupsAtOnce = 16, kPassedAtOnce = 32;
// The distance of a code that passed costs as much as some 80 planes of a group, and leaving out eight planes lets about twice as many pass:
// the sum is least where between so many of the groups at once pass.
constexpr int64_t kFew = 1, kMany = 4;
constexpr int kMaxStep = 16;

int bits_of(int64_t x) { return x == 0 ? 0 : 64 - __builtin_clzll(static_cast<uint64_t>(x)); }

int small_blocks(int n_planes) { return static_cast<int>(ceil_div(n_planes, kSmall)); }

}  // namespace

uint64_t weighted_distance(const uint64_t* code, int64_t n_words, const uint64_t* query, int n_columns) {
    uint64_t distance = 0;
    for (int64_t w = 0; w < n_words; ++w) {
        const uint64_t different = code[w] ^ *query++;
        for (int column = 0; column < n_columns; ++column) distance += popcount(different & *query++) << column;
    }
    return distance;
}

template <class Offset>
WeightedQueries<Offset>::WeightedQueries(const QuerySet& queries, int n_bits, int64_t first, int64_t last, int64_t plane_words)
    : plane_words_(plane_words), zeros_(static_cast<Offset>(n_bits * plane_words)) {
    const int64_t n_queries = last - first, n_words = ceil_div(n_bits, 64);
    words_.reserve(static_cast<size_t>(n_queries * n_words * (1 + kMaxColumns)));
    planes_.reserve(static_cast<size_t>(n_queries * kMaxColumns * (n_bits + 2 * kSmall)));
    filters_.reserve(static_cast<size_t>(n_queries));
    for (int64_t i = first; i < last; ++i) add(reinterpret_cast<const int8_t*>(queries.codes) + i * n_bits, n_bits);
}

template <class Offset>
void WeightedQueries<Offset>::add(const int8_t* weights, int n_bits) {
    Filter& filter = filters_.emplace_back();
    int largest = 0;
    for (int bit = 0; bit < n_bits; ++bit) largest = std::max(largest, std::abs(weights[bit]));
    const int n_columns = filter.query.n_columns = bits_of(largest);

    const int64_t n_words = ceil_div(n_bits, 64), stride = 1 + n_columns;
    const size_t first_word = words_.size();
    words_.resize(first_word + static_cast<size_t>(n_words * stride));
    uint64_t* const words = words_.data() + first_word;
    filter.query.words = words;
    for (int bit = 0; bit < n_bits; ++bit) {
        uint64_t* const word = words + bit / 64 * stride;
        word[0] |= uint64_t{weights[bit] > 0} << bit % 64;
        for (int column = 0; column < n_columns; ++column) {
            word[1 + column] |= static_cast<uint64_t>(std::abs(weights[bit]) >> column & 1) << bit % 64;
        }
    }

    for (int column = 0; column < n_columns; ++column) {
        for (int sign = 0; sign < 2; ++sign) {
            PlaneList& list = filter.lists[column][sign];
            list.first = planes_.size();
            for (int64_t w = 0; w < n_words; ++w) {
                const uint64_t* const word = words + w * stride;
                for (uint64_t left = word[1 + column] & (sign ? word[0] : ~word[0]); left != 0; left &= left - 1) {
                    planes_.push_back(static_cast<Offset>((64 * w + __builtin_ctzll(left)) * plane_words_));
                }
            }
            list.n_planes = static_cast<int>(planes_.size() - list.first);
            planes_.resize(list.first + static_cast<size_t>(round_up(list.n_planes, kSmall)), zeros_);
        }
    }
    leave_out(filter, 0);
}

template <class Offset>
int WeightedQueries<Offset>::n_columns() const {
    int n = 0;
    for (const Filter& filter : filters_) n += filter.query.n_columns;
    return n;
}

// Leaves out the last blocks of the lowest columns, as many of negative weights as of positive ones.
template <class Offset>
void WeightedQueries<Offset>::leave_out(Filter& filter, int n_blocks) {
    WeightedQuery<Offset>& query = filter.query;
    filter.left_out = 0;
    query.first_column = query.n_columns;
    query.positive = query.total = 0;
    PlaneRun<Offset>* run = query.runs;
    for (int column = 0; column < query.n_columns; ++column) {
        int blocks[2];
        for (int sign = 0; sign < 2; ++sign) blocks[sign] = small_blocks(filter.lists[column][sign].n_planes);
        const int n_left_out = std::min(n_blocks - filter.left_out, column + 1 < query.n_columns ? blocks[0] + blocks[1] : 0);
        const int of_negative = std::clamp(n_left_out / 2, n_left_out - blocks[1], blocks[0]);
        filter.left_out += n_left_out;
        blocks[0] -= of_negative;
        blocks[1] -= n_left_out - of_negative;
        if (query.first_column == query.n_columns && blocks[0] + blocks[1] > 0) query.first_column = column;
        if (column < query.first_column) continue;
        for (int sign = 0; sign < 2; ++sign) {
            const PlaneList& list = filter.lists[column][sign];
            run[(sign + column - query.first_column) % 2] = {planes_.data() + list.first, blocks[sign] / kSmallInLarge,
                                                             blocks[sign] % kSmallInLarge};
            const int64_t weight = int64_t{std::min(list.n_planes, blocks[sign] * kSmall)} << column;
            query.total += weight;
            if (sign) query.positive += weight;
        }
        run += 2;
    }
    query.n_counters = std::max(kMinCounters, bits_of(query.total) + 1 - query.first_column);
}

template <class Offset>
void WeightedQueries<Offset>::put_zeros(Offset zeros) {
    zeros_ = zeros;
    for (const Filter& filter : filters_) {
        for (int column = 0; column < filter.query.n_columns; ++column) {
            for (const PlaneList& list : filter.lists[column]) {
                std::fill_n(planes_.begin() + static_cast<int64_t>(list.first) + list.n_planes,
                            round_up(list.n_planes, kSmall) - list.n_planes, zeros);
            }
        }
    }
}

template <class Offset>
void WeightedQueries<Offset>::filtered(int64_t i, int64_t n_groups, int64_t n_passed) {
    Filter& filter = filters_[static_cast<size_t>(i)];
    filter.n_groups += n_groups;
    filter.n_passed += n_passed;
    if (filter.n_groups < kGroupsAtOnce && filter.n_passed < kPassedAtOnce) return;
    const bool few = filter.n_passed * kGroupsAtOnce <= kFew * filter.n_groups,
               many = filter.n_passed * kGroupsAtOnce > kMany * filter.n_groups;
    const bool none = filter.n_passed == 0;
    filter.n_groups = filter.n_passed = 0;
    if (few) {
        if (filter.more && none) filter.step = std::min(2 * filter.step, kMaxStep);
        leave_out(filter, filter.left_out + filter.step);
        filter.more = true;
    } else if (many) {
        leave_out(filter, std::max(0, filter.left_out - filter.step));
        filter.step = filter.more ? std::max(1, filter.step / 2) : std::min(2 * filter.step, kMaxStep);
        filter.more = false;
    } else {
        filter.more = false;
    }
}

template class WeightedQueries<uint16_t>;  // in a tile
template class WeightedQueries<int64_t>;   // in a block of stored planes

}  // namespace fasthash
