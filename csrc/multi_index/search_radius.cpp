#include <algorithm>

#include "probe_or_scan.h"
#include "search.h"
#include "unlisted_codes.h"

namespace fasthash {

HitLists search_radius(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t radius,
                       const MultiSearchOptions& options) {
    const FoundCodes nothing(FoundCodes::kAll, static_cast<uint64_t>(std::min(radius, set.n_bits())));
    if (!worth_probing(tables, set, queries.n_queries, options, nothing)) return search_radius(set, queries, radius, options.scan);
    HitLists hits = UnlistedCodes(tables, set).within(queries, radius, options.scan);
    const std::vector<int64_t> scanned =
        probe_queries(tables, set, queries.n_queries, options, [&](Prober& prober, int64_t query, Job& job) {
            FoundCodes found = nothing;
            for (uint64_t item : hits[static_cast<size_t>(query)]) found.add(item);
            const Outcome outcome = prober.search(queries.codes + query * set.n_bytes, found, job);
            if (outcome != Outcome::too_dear) hits[static_cast<size_t>(query)].swap(found.sorted());
            return outcome;
        });
    if (scanned.empty()) return hits;
    const QuerySubset subset(queries, set.n_bytes, scanned);
    HitLists scan_hits = search_radius(set, subset.set(), radius, options.scan);
    for (size_t i = 0; i < scanned.size(); ++i) hits[static_cast<size_t>(scanned[i])].swap(scan_hits[i]);
    return hits;
}

}  // namespace fasthash
