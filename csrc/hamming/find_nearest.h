#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "../thread_pool.h"
#include "candidate_lists.h"
#include "nearest_items.h"
#include "query_set.h"
#include "sampled_limits.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

constexpr int64_t kMaxListBytes = int64_t{64} << 20;  // of one task's candidate lists, unless one list is longer

inline void lower(std::atomic<uint64_t>& limit, uint64_t value) {
    uint64_t known = limit;
    while (value < known && !limit.compare_exchange_weak(known, value)) {}
}

// A search for codes below each query's limit, which falls as ranges of codes are finished.
template <class Scan>
class LimitedSearch {
    using Set = typename Scan::Set;

public:
    LimitedSearch(const Set& set, const QuerySet& queries, int64_t k, const std::vector<uint64_t>& limits, const SearchOptions& options,
                  int32_t* distances, int64_t* ids)
        : set_(set),
          queries_(queries),
          options_(options),
          k_(k),
          k_found_(std::min(k, set.n_eligible())),
          capacity_(CandidateLists::capacity(k_found_, set.n_eligible(), Scan::kSpare)),
          plan_(queries.n_queries, set.n_codes, options.threads, Scan::kUnit,
                std::clamp<int64_t>(kMaxListBytes / (capacity_ * 8), 1, kMaxQueryBlock)),
          limits_(limits.size()),
          parts_(merged() ? static_cast<size_t>(plan_.n_ranges * queries.n_queries) : 0),
          complete_(limits.size()),
          distances_(distances),
          ids_(ids) {
        for (size_t i = 0; i < limits.size(); ++i) limits_[i] = limits[i];
    }

    // Returns the queries that had fewer codes below their limits than are wanted; their rows of the result mean nothing.
    std::vector<int64_t> run() {
        parallel_for(plan_.n_tasks(), options_.threads, options_.interrupted,
                     [&](Job& job, int64_t task) { search(SearchShare(plan_, task), job); });
        if (merged()) {
            parallel_for(queries_.n_queries, options_.threads, options_.interrupted, [&](Job& job, int64_t query) { merge(query, job); });
        }
        std::vector<int64_t> incomplete;
        for (int64_t query = 0; query < queries_.n_queries; ++query) {
            if (!complete_[static_cast<size_t>(query)]) incomplete.push_back(query);
        }
        return incomplete;
    }

private:
    bool merged() const { return plan_.n_ranges > 1; }
    std::atomic<uint64_t>& limit(int64_t query) { return limits_[static_cast<size_t>(query)]; }
    std::vector<uint64_t>& part(int64_t query, int64_t range) { return parts_[static_cast<size_t>(query * plan_.n_ranges + range)]; }

    void search(const SearchShare& share, Job& job) {
        CandidateLists lists(share.n_queries(), k_found_, capacity_, [&](int64_t i) { return limit(share.first_query + i).load(); });
        Scan scan(set_, queries_, share, options_);
        scan.scan(share.first_code, share.last_code, job, [&](int64_t i) -> CandidateList& { return lists[i]; });
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            const int64_t query = share.first_query + i;
            CandidateList& list = lists[i];
            if (!merged()) {
                write(query, list.items, list.size);
                continue;
            }
            keep_nearest(list);
            if (list.size == k_found_) lower(limit(query), list.limit + 1);  // a tie in an earlier range may still win
            part(query, share.range).assign(list.items, list.items + list.size);
        }
    }

    void merge(int64_t query, Job& job) {
        std::vector<uint64_t> items;
        for (int64_t range = 0; range < plan_.n_ranges; ++range) {
            items.insert(items.end(), part(query, range).begin(), part(query, range).end());
        }
        write(query, items.data(), static_cast<int64_t>(items.size()));
        job.checkpoint(static_cast<int64_t>(items.size()));
    }

    void write(int64_t query, uint64_t* items, int64_t size) {
        complete_[static_cast<size_t>(query)] = size >= k_found_;
        write_nearest(items, size, k_, set_.max_distance(), set_.ranks(), distances_ + query * k_, ids_ + query * k_);
    }

    const Set& set_;
    const QuerySet queries_;
    const SearchOptions& options_;
    const int64_t k_, k_found_;  // k_found_: of which so many there are
    const int64_t capacity_;
    const SearchPlan plan_;
    std::vector<std::atomic<uint64_t>> limits_;  // of each query: k_found_ codes are below, by the ranges finished so far
    std::vector<std::vector<uint64_t>> parts_;   // [n_queries, n_ranges], if there are several ranges
    std::vector<char> complete_;
    int32_t* const distances_;
    int64_t* const ids_;
};

// The k nearest codes of every query, as `search_topk` has them, among a set that a Scan reads.
template <class Scan>
void find_nearest(const typename Scan::Set& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances,
                  int64_t* ids) {
    const int64_t k_found = std::min(k, set.n_eligible());
    if (k_found == 0) return fill_without_hits(queries.n_queries * k, distances, ids);
    const std::vector<uint64_t> limits = sampled_limits<Scan>(set, queries, k_found, options);
    std::vector<int64_t> misled = LimitedSearch<Scan>(set, queries, k, limits, options, distances, ids).run();
    const uint64_t farthest = farthest_limit(set, options);
    misled.erase(
        std::remove_if(misled.begin(), misled.end(), [&](int64_t query) { return limits[static_cast<size_t>(query)] == farthest; }),
        misled.end());
    if (misled.empty()) return;

    // The sample was no fair one for these queries; without its limit they are complete.
    const QuerySubset subset(queries, set.query_bytes(), misled);
    const std::vector<uint64_t> unlimited(misled.size(), farthest);
    subset.search_topk(k, distances, ids, [&](int32_t* found_distances, int64_t* found_ids) {
        LimitedSearch<Scan>(set, subset.set(), k, unlimited, options, found_distances, found_ids).run();
    });
}

}  // namespace fasthash
