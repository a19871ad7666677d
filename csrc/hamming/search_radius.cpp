#include "find_within.h"
#include "scan_cost.h"
#include "scan_share.h"
#include "search.h"

namespace fasthash {

HitGroups search_radius(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options) {
    return find_within<ShareScan>(as_scanned(set, queries.n_queries, options.threads, options.kernel), queries, radius, options);
}

}  // namespace fasthash
