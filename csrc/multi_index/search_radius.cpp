#include <algorithm>
#include <mutex>

#include "probe_or_scan.h"
#include "search.h"
#include "unlisted_codes.h"

namespace fasthash {

HitGroups search_radius(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t radius,
                        const MultiSearchOptions& options) {
    const FoundCodes nothing(FoundCodes::kAll, static_cast<uint64_t>(std::min(radius, set.n_bits())), true);
    if (!worth_probing(tables, set, queries.n_queries, options, nothing)) return search_radius(set, queries, radius, options.scan);
    HitLists unlisted = UnlistedCodes(tables, set).within(queries, radius, options.scan);
    HitGroups groups;
    std::mutex mutex;
    const std::vector<int64_t> scanned = probe_queries(tables, set, queries.n_queries, options, [&]() -> ProbeQuery {
        const std::lock_guard lock(mutex);
        FoundHits& hits = groups.emplace_back();
        hits.parts.resize(1);
        return [&](Prober& prober, int64_t query, Job& job) {
            FoundCodes found = nothing;
            const Outcome outcome = prober.search(queries.codes + query * set.n_bytes, found, job);
            if (outcome == Outcome::too_dear) return outcome;
            std::vector<uint64_t> behind;
            behind.swap(unlisted[static_cast<size_t>(query)]);
            for (const std::vector<uint64_t>& part : {std::cref(found.sorted()), std::cref(behind)}) {
                hits.parts[0].append(static_cast<int64_t>(hits.queries.size()), part.data(), static_cast<int64_t>(part.size()));
            }
            hits.queries.push_back(query);
            return outcome;
        };
    });
    if (scanned.empty()) return groups;
    const QuerySubset subset(queries, set.n_bytes, scanned);
    for (FoundHits& hits : search_radius(set, subset.set(), radius, options.scan)) {
        for (int64_t& query : hits.queries) query = scanned[static_cast<size_t>(query)];
        groups.push_back(std::move(hits));
    }
    return groups;
}

}  // namespace fasthash
