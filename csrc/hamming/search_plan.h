#pragma once

#include <cstdint>

namespace fasthash {

constexpr int64_t kMaxQueryBlock = 256;

// How a search is cut into tasks: blocks of queries times ranges of codes, ranges where there are too few blocks to keep
// every thread busy. Tasks of one block follow each other, so that a later range profits from what an earlier one found.
struct SearchPlan {
    int64_t n_queries, n_codes;
    int64_t query_block, n_blocks, codes_per_range, n_ranges;

    // Ranges begin at multiples of `unit` codes.
    SearchPlan(int64_t queries, int64_t codes, int threads, int64_t unit, int64_t max_query_block = kMaxQueryBlock,
               int64_t max_ranges = INT64_MAX);

    int64_t n_tasks() const { return n_blocks * n_ranges; }
};

// One task's share: queries [first_query, last_query) against codes [first_code, last_code).
struct SearchShare {
    int64_t range, first_query, last_query, first_code, last_code;

    SearchShare(const SearchPlan& plan, int64_t task);

    int64_t n_queries() const { return last_query - first_query; }
};

}  // namespace fasthash
