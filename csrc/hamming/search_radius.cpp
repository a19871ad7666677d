#include <algorithm>

#include "../thread_pool.h"
#include "scan_share.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

namespace {

// A candidate list that grows instead of being cut back.
struct GrowingList : CandidateList {
    std::vector<uint64_t> storage;

    explicit GrowingList(uint64_t below) : CandidateList{nullptr, 0, 0, below, 0, grow}, storage(1024) { point(); }

    void point() {
        items = storage.data();
        capacity = static_cast<int64_t>(storage.size());
    }

    static void grow(CandidateList& list) {
        GrowingList& self = static_cast<GrowingList&>(list);
        self.storage.resize(self.storage.size() * 2);
        self.point();
    }

    // The items with ids for ranks.
    std::vector<uint64_t> hits(const Mask* mask) const {
        std::vector<uint64_t> found(items, items + size);
        if (!mask) return found;
        for (uint64_t& item : found) item = make_item(item_distance(item), static_cast<uint64_t>(mask->id(item_rank(item))));
        return found;
    }
};

// Joins each query's parts, [n_queries, n_ranges].
HitLists joined(HitLists& parts, int64_t n_queries, int64_t n_ranges) {
    HitLists hits(static_cast<size_t>(n_queries));
    auto part = parts.begin();
    for (std::vector<uint64_t>& list : hits) {
        for (int64_t range = 0; range < n_ranges; ++range, ++part) {
            if (list.empty()) list.swap(*part);
            else list.insert(list.end(), part->begin(), part->end());
            std::vector<uint64_t>().swap(*part);
        }
    }
    return hits;
}

}  // namespace

HitLists search_radius(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options) {
    const SearchPlan plan(queries.n_queries, set.n_codes, options.threads);
    HitLists parts(static_cast<size_t>(plan.n_ranges * queries.n_queries));
    const uint64_t limit = static_cast<uint64_t>(std::min(radius, set.n_bits())) + 1;

    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        std::vector<GrowingList> lists;
        lists.reserve(static_cast<size_t>(share.n_queries()));
        for (int64_t i = 0; i < share.n_queries(); ++i) lists.emplace_back(limit);
        scan_share(set, queries, share, options.kernel, job, [&](int64_t i) -> CandidateList& { return lists[static_cast<size_t>(i)]; });
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            parts[static_cast<size_t>((share.first_query + i) * plan.n_ranges + share.range)] =
                lists[static_cast<size_t>(i)].hits(set.mask);
        }
    });
    return joined(parts, queries.n_queries, plan.n_ranges);
}

}  // namespace fasthash
