#include "topk.h"

#include <algorithm>

namespace fasthash {

namespace {

// The counts of items per distance, then the split that k items make: all below `last`, and `ties` of those at it.
class DistanceCounts {
public:
    DistanceCounts(const uint64_t* items, int64_t size, int64_t max_distance) : n_distances_(max_distance + 1) {
        std::fill(counts_, counts_ + n_distances_, 0);
        for (int64_t i = 0; i < size; ++i) ++counts_[item_distance(items[i])];
    }

    void split(int64_t k) {
        ties = k;
        for (last = 0; ties > counts_[last]; ++last) ties -= counts_[last];
    }

    // Turns the counts into the position of the first item of each distance.
    int64_t* positions() {
        int64_t before = 0;
        for (int64_t distance = 0; distance < n_distances_; ++distance) {
            const int64_t here = counts_[distance];
            counts_[distance] = before;
            before += here;
        }
        return counts_;
    }

    uint64_t last = 0;
    int64_t ties = 0;

private:
    const int64_t n_distances_;
    int64_t counts_[kMaxBits + 2];
};

}  // namespace

void keep_nearest(CandidateList& list) {
    if (list.size < list.k) return;
    DistanceCounts counts(list.items, list.size, static_cast<int64_t>(list.limit));
    counts.split(list.k);
    int64_t kept = 0;
    for (int64_t i = 0; i < list.size; ++i) {
        const uint64_t distance = item_distance(list.items[i]);
        if (distance < counts.last || (distance == counts.last && counts.ties-- > 0)) list.items[kept++] = list.items[i];
    }
    list.size = kept;
    list.limit = counts.last;
}

void write_nearest(const uint64_t* items, int64_t size, int64_t k, const CodeSet& set, int32_t* distances, int64_t* ids) {
    const int64_t n_hits = std::min(k, size);
    if (n_hits > 0) {
        DistanceCounts counts(items, size, set.n_bytes * 8);
        counts.split(n_hits);
        int64_t* next = counts.positions();
        for (int64_t i = 0; i < size; ++i) {
            const uint64_t distance = item_distance(items[i]);
            if (distance > counts.last || (distance == counts.last && counts.ties-- <= 0)) continue;
            const int64_t at = next[distance]++;
            distances[at] = static_cast<int32_t>(distance);
            ids[at] = set.id(item_rank(items[i]));
        }
    }
    std::fill(distances + n_hits, distances + k, kNoDistance);
    std::fill(ids + n_hits, ids + k, int64_t{-1});
}

}  // namespace fasthash
