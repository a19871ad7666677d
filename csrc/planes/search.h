#pragma once

#include <cstdint>

#include "../hamming/search.h"
#include "stored_codes.h"

namespace fasthash {

// As the searches of rows in hamming/search.h.
void search_topk(const StoredCodes& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances,
                 int64_t* ids);
HitGroups search_radius(const StoredCodes& set, const QuerySet& queries, int64_t radius, const SearchOptions& options);

}  // namespace fasthash
