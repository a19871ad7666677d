#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernel.h"
#include "nearest_items.h"

namespace fasthash {

// The candidate lists of several queries in one piece of memory, each cut back to its k nearest when it is full.
class CandidateLists {
public:
    // Items of a list for the k nearest of n_codes, which is cut back when it has `spare` more at least.
    static int64_t capacity(int64_t k, int64_t n_codes, int64_t spare) { return std::min(k + std::max(k, spare), n_codes) + kTileGroup; }

    // Query i starts from limit(i).
    template <class Limit>
    CandidateLists(int64_t n_queries, int64_t k, int64_t capacity, const Limit& limit)
        : items_(new uint64_t[static_cast<size_t>(n_queries * capacity)]), lists_(static_cast<size_t>(n_queries)) {
        for (int64_t i = 0; i < n_queries; ++i) (*this)[i] = {items_.get() + i * capacity, 0, capacity, limit(i), k, keep_nearest};
    }
    CandidateList& operator[](int64_t i) { return lists_[static_cast<size_t>(i)]; }

private:
    std::unique_ptr<uint64_t[]> items_;
    std::vector<CandidateList> lists_;
};

}  // namespace fasthash
