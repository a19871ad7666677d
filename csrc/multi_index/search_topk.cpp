#include <algorithm>

#include "../hamming/nearest_items.h"
#include "probe_or_scan.h"
#include "search.h"
#include "unlisted_codes.h"

namespace fasthash {

namespace {

void write_sorted(const std::vector<uint64_t>& items, int64_t k, int32_t* distances, int64_t* ids) {
    const int64_t n_hits = static_cast<int64_t>(items.size());
    for (int64_t i = 0; i < n_hits; ++i) {
        distances[i] = static_cast<int32_t>(item_distance(items[static_cast<size_t>(i)]));
        ids[i] = item_rank(items[static_cast<size_t>(i)]);
    }
    fill_without_hits(k - n_hits, distances + n_hits, ids + n_hits);
}

}  // namespace

void search_topk(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t k, const MultiSearchOptions& options,
                 int32_t* distances, int64_t* ids, bool* complete) {
    const int64_t max_distance = options.scan.max_distance;
    const FoundCodes nothing(std::min(k, set.n_eligible()), static_cast<uint64_t>(std::min(max_distance, set.n_bits())),
                             max_distance < set.n_bits());
    if (set.n_eligible() == 0 || k == 0 || !worth_probing(tables, set, queries.n_queries, options, nothing)) {
        return search_topk(set, queries, k, options.scan, distances, ids);
    }
    const HitLists unlisted = UnlistedCodes(tables, set).nearest(queries, k, options.scan);
    const ProbeQuery probe = [&](Prober& prober, int64_t query, Job& job) {
        FoundCodes found = nothing;
        for (uint64_t item : unlisted[static_cast<size_t>(query)]) found.add(item);
        const Outcome outcome = prober.search(queries.codes + query * set.n_bytes, found, job);
        if (outcome == Outcome::cut_short) complete[query] = false;
        if (outcome != Outcome::too_dear) write_sorted(found.sorted(), k, distances + query * k, ids + query * k);
        return outcome;
    };
    const std::vector<int64_t> scanned = probe_queries(tables, set, queries.n_queries, options, [&] { return probe; });
    if (scanned.empty()) return;
    const QuerySubset subset(queries, set.n_bytes, scanned);
    subset.search_topk(k, distances, ids, [&](int32_t* found_distances, int64_t* found_ids) {
        search_topk(set, subset.set(), k, options.scan, found_distances, found_ids);
    });
}

}  // namespace fasthash
