#pragma once

#include <cstdint>
#include <vector>

#include "../hamming/item.h"
#include "tables.h"

namespace fasthash {

// The codes found for a query: the k nearest of them, or all within a radius.
class FoundCodes {
public:
    static constexpr int64_t kAll = INT64_MAX;  // as k

    // `bounded` as below; for kAll they are.
    FoundCodes(int64_t k, uint64_t limit, bool bounded)
        : k_(k), limit_(limit), bounded_(bounded), counts_(static_cast<size_t>(limit) + 1) {}

    uint64_t limit() const { return limit_; }  // farther codes are not wanted
    bool bounded() const { return bounded_; }  // whether all wanted codes are known to be within the limit
    bool all() const { return k_ == kAll; }

    // Whether the k nearest hardly lie within `distance`: of k codes there, more would have been found before the step, by the share of the
    // codes at that distance that is. Random numbers are allowed for: four, and two standard deviations.
    bool beyond(const Tables& tables, int64_t step, int64_t distance) const;

    void add(uint64_t item) {
        const uint64_t distance = item_distance(item);
        if (distance > limit_) return;
        items_.push_back(item);
        ++counts_[distance];
        if (++n_within_ < k_) return;
        bounded_ = true;
        while (n_within_ - counts_[limit_] >= k_) n_within_ -= counts_[limit_--];
        if (static_cast<int64_t>(items_.size()) >= 2 * (k_ > kSpare ? k_ : kSpare)) cut();
    }

    // The items in ascending order of (distance, id).
    std::vector<uint64_t>& sorted();

private:
    static constexpr int64_t kSpare = 2048;  // items beyond the k nearest that may wait to be cut off

    void cut();

    const int64_t k_;
    uint64_t limit_;
    bool bounded_;
    int64_t n_within_ = 0;
    std::vector<int64_t> counts_;  // of each distance up to the limit
    std::vector<uint64_t> items_;
};

}  // namespace fasthash
