#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "../thread_pool.h"
#include "code_set.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

constexpr int64_t kPlaces = 1024;  // of a list, for items that wait to be moved to where all of a task's hits are

// A candidate list that is emptied when it is full.
struct EmptiedList : CandidateList {
    int64_t query;
    const Mask* mask;
    HitRuns& hits;

    EmptiedList(uint64_t* places, uint64_t below, int64_t of_query, const Mask* eligible, HitRuns& to)
        : CandidateList{places, 0, kPlaces, below, 0, empty}, query(of_query), mask(eligible), hits(to) {}

    static void empty(CandidateList& list) {
        EmptiedList& self = static_cast<EmptiedList&>(list);
        if (self.mask) {  // ids for ranks
            for (int64_t i = 0; i < self.size; ++i) {
                const uint64_t item = self.items[i];
                self.items[i] = make_item(item_distance(item), static_cast<uint64_t>(self.mask->id(item_rank(item))));
            }
        }
        self.hits.append(self.query, self.items, self.size);
        self.size = 0;
    }
};

// The codes within a distance, the bound included, among a set that a Scan reads.
template <class Scan>
HitGroups find_within(const typename Scan::Set& set, const QuerySet& queries, int64_t radius, const SearchOptions& options) {
    const SearchPlan plan(queries.n_queries, set.n_codes, options.threads, Scan::kUnit);
    HitGroups groups(static_cast<size_t>(plan.n_blocks));
    for (int64_t block = 0; block < plan.n_blocks; ++block) {
        const SearchShare share(plan, block * plan.n_ranges);
        FoundHits& found = groups[static_cast<size_t>(block)];
        found.queries.resize(static_cast<size_t>(share.n_queries()));
        std::iota(found.queries.begin(), found.queries.end(), share.first_query);
        found.parts.resize(static_cast<size_t>(plan.n_ranges));
    }
    const uint64_t limit = static_cast<uint64_t>(std::min(radius, set.n_bits())) + 1;

    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        HitRuns& hits = groups[static_cast<size_t>(task / plan.n_ranges)].parts[static_cast<size_t>(share.range)];
        const std::unique_ptr<uint64_t[]> places(new uint64_t[static_cast<size_t>(share.n_queries() * kPlaces)]);
        std::vector<EmptiedList> lists;
        lists.reserve(static_cast<size_t>(share.n_queries()));
        for (int64_t i = 0; i < share.n_queries(); ++i) lists.emplace_back(places.get() + i * kPlaces, limit, i, set.ranks(), hits);
        Scan(set, queries, share, options).scan(share.first_code, share.last_code, job, [&](int64_t i) -> CandidateList& {
            return lists[static_cast<size_t>(i)];
        });
        for (EmptiedList& list : lists) EmptiedList::empty(list);
    });
    return groups;
}

}  // namespace fasthash
