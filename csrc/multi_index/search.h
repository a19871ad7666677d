#pragma once

#include "../hamming/search.h"
#include "kernel.h"
#include "tables.h"

namespace fasthash {

struct MultiSearchOptions {
    SearchOptions scan;
    MultiIndexKernel kernel;
    int64_t max_candidates;  // 0: no bound, and the answer is exact
};

// As the searches of the same names without tables, which hold the first codes of the set; the others are scanned.
// Sets complete[query] to false where max_candidates cut a query short; without that it may be null.
void search_topk(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t k, const MultiSearchOptions& options,
                 int32_t* distances, int64_t* ids, bool* complete);
HitGroups search_radius(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t radius,
                        const MultiSearchOptions& options);

}  // namespace fasthash
