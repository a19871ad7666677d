#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "../thread_pool.h"
#include "candidate_lists.h"
#include "nearest_items.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

// A distance that no code reaches that may be found.
template <class Set>
uint64_t farthest_limit(const Set& set, const SearchOptions& options) {
    return static_cast<uint64_t>(std::min(set.max_distance(), options.max_distance)) + 1;
}

// The size of the sample that makes a search cheapest.
struct Sample {
    int64_t n_codes = 0;  // 0: no sample is worth its cost
    int64_t k = 0;        // as near as the sample's k-th is, the set almost surely has the k that are wanted

    Sample(int64_t k_wanted, int64_t n, int n_words, int64_t n_queries, int64_t unit) {
        // One or two queries wait for memory, not for the comparison.
        const double candidate_cost = kCandidateCost / n_words / (n_queries <= 2 ? 4 : 1);
        double least = 0.9 * (static_cast<double>(n) + candidate_cost * expected_candidates(k_wanted, n));
        for (int64_t size = unit; size <= n / 4; size *= 2) {
            const double share = static_cast<double>(k_wanted) * static_cast<double>(size) / static_cast<double>(n);
            const int64_t rank = static_cast<int64_t>(share + 4 * std::sqrt(share) + 4);
            const double passing = 1.5 * static_cast<double>(rank) * static_cast<double>(n) / static_cast<double>(size);
            const double cost = static_cast<double>(n + size) + candidate_cost * (expected_candidates(rank, size) + passing);
            if (cost < least) {
                least = cost;
                n_codes = size;
                k = rank;
            }
        }
    }

private:
    static constexpr double kCandidateCost = 300;  // in comparisons of 64 bits

    // Of n codes in random order, those below the limit when their turn comes; it falls once for every k of them.
    static double expected_candidates(int64_t k, int64_t n) {
        return static_cast<double>(k) * std::log2(2.0 * static_cast<double>(n) / static_cast<double>(k));
    }
};

// Per query, a limit that almost surely at least k eligible codes are below, or that none beyond may be found, from a sample of the codes that is searched first. Without it
// a search for many hits among few codes spends most of its time on candidates that nearer ones displace later.
template <class Scan>
std::vector<uint64_t> sampled_limits(const typename Scan::Set& set, const QuerySet& queries, int64_t k, const SearchOptions& options) {
    std::vector<uint64_t> limits(static_cast<size_t>(queries.n_queries), farthest_limit(set, options));
    const Sample sample(k, set.n_codes, set.n_words(), queries.n_queries, Scan::kUnit);
    if (sample.n_codes == 0) return limits;
    const int64_t n_blocks = set.n_codes / Scan::kUnit, n_sampled = sample.n_codes / Scan::kUnit;
    const int64_t capacity = CandidateLists::capacity(sample.k, sample.n_codes, Scan::kSpare);
    const SearchPlan plan(queries.n_queries, sample.n_codes, options.threads, Scan::kUnit, kMaxQueryBlock, 1);
    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        Scan scan(set, queries, share, options);
        CandidateLists lists(share.n_queries(), sample.k, capacity, [&](int64_t) { return farthest_limit(set, options); });
        for (int64_t i = 0; i < n_sampled; ++i) {
            const int64_t first = n_blocks * i / n_sampled * Scan::kUnit;
            scan.scan(first, first + Scan::kUnit, job, [&](int64_t q) -> CandidateList& { return lists[q]; });
        }
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            keep_nearest(lists[i]);
            if (lists[i].size == sample.k) limits[static_cast<size_t>(share.first_query + i)] = lists[i].limit + 1;
        }
    });
    return limits;
}

}  // namespace fasthash
