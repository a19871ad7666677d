#include "unlisted_codes.h"

#include <algorithm>

#include "../rounding.h"

namespace fasthash {

UnlistedCodes::UnlistedCodes(const Tables& tables, const CodeSet& all)
    : first_(tables.n_codes()), set_{all.codes + first_ * all.n_bytes, all.n_codes - first_, all.n_bytes, nullptr} {
    if (!all.mask) return;
    mask_bits_.assign(static_cast<size_t>(ceil_div(set_.n_codes, 8)), 0);
    for (int64_t i = 0; i < set_.n_codes; ++i) {
        uint8_t& byte = mask_bits_[static_cast<size_t>(i / 8)];
        byte = static_cast<uint8_t>(byte | all.mask->eligible(first_ + i) << i % 8);
    }
    mask_ = std::make_unique<const Mask>(mask_bits_.data(), set_.n_codes);
    set_.mask = mask_.get();
}

HitLists UnlistedCodes::nearest(const QuerySet& queries, int64_t k, const SearchOptions& options) const {
    HitLists hits(static_cast<size_t>(queries.n_queries));
    k = std::min(k, set_.n_eligible());
    if (k == 0) return hits;
    std::vector<int32_t> distances(static_cast<size_t>(queries.n_queries * k));
    std::vector<int64_t> ids(distances.size());
    search_topk(set_, queries, k, options, distances.data(), ids.data());
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0) continue;
        hits[i / static_cast<size_t>(k)].push_back(make_item(static_cast<uint64_t>(distances[i]), static_cast<uint64_t>(first_ + ids[i])));
    }
    return hits;
}

HitLists UnlistedCodes::within(const QuerySet& queries, int64_t radius, const SearchOptions& options) const {
    HitGroups groups = search_radius(set_, queries, radius, options);
    HitLists hits = hits_by_query(groups, queries.n_queries);
    for (std::vector<uint64_t>& list : hits) {
        for (uint64_t& item : list) item += static_cast<uint64_t>(first_);
    }
    return hits;
}

}  // namespace fasthash
