#include "hit_lists.h"

#include "nearest_items.h"

namespace fasthash {

void write_offsets(const HitLists& hits, int64_t* offsets) {
    *offsets = 0;
    for (const std::vector<uint64_t>& list : hits) {
        offsets[1] = offsets[0] + static_cast<int64_t>(list.size());
        ++offsets;
    }
}

void write_hits(HitLists& hits, int64_t n_bits, int32_t* distances, int64_t* ids) {
    for (std::vector<uint64_t>& list : hits) {
        const int64_t n_hits = static_cast<int64_t>(list.size());
        write_nearest(list.data(), n_hits, n_hits, n_bits, nullptr, distances, ids);
        distances += n_hits;
        ids += n_hits;
    }
}

}  // namespace fasthash
