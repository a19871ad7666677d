#include "search.h"

#include "../hamming/find_nearest.h"
#include "../hamming/find_within.h"
#include "stored_scan.h"

namespace fasthash {

void search_topk(const StoredCodes& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances,
                 int64_t* ids) {
    find_nearest<StoredScan>(set, queries, k, options, distances, ids);
}

HitGroups search_radius(const StoredCodes& set, const QuerySet& queries, int64_t radius, const SearchOptions& options) {
    return find_within<StoredScan>(set, queries, radius, options);
}

}  // namespace fasthash
