#include "find_nearest.h"
#include "scan_cost.h"
#include "scan_share.h"
#include "search.h"

namespace fasthash {

void search_topk(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances, int64_t* ids) {
    find_nearest<ShareScan>(as_scanned(set, queries.n_queries, options.threads, options.kernel), queries, k, options, distances, ids);
}

}  // namespace fasthash
