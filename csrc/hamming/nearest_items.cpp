#include "nearest_items.h"

#include <algorithm>
#include <vector>

namespace fasthash {

namespace {

// The counts of items per distance.
class DistanceCounts {
public:
    DistanceCounts(const uint64_t* items, int64_t size, int64_t max_distance) : n_distances_(max_distance + 1) {
        // Distances cluster: separate counts for every fourth item keep one increment from waiting for the last.
        uint32_t counts[4][kMaxBits + 2];
        for (auto& part : counts) std::fill(part, part + n_distances_, 0);
        int64_t i = 0;
        for (; i + 4 <= size; i += 4) {
            for (int part = 0; part < 4; ++part) ++counts[part][item_distance(items[i + part])];
        }
        for (; i < size; ++i) ++counts[0][item_distance(items[i])];
        for (int64_t d = 0; d < n_distances_; ++d) counts_[d] = int64_t{counts[0][d]} + counts[1][d] + counts[2][d] + counts[3][d];
    }

    // The distance of the k-th item, and in `ties` how many of the k are at it.
    uint64_t kth(int64_t k, int64_t& ties) const {
        uint64_t distance = 0;
        for (ties = k; ties > counts_[distance]; ++distance) ties -= counts_[distance];
        return distance;
    }

    // Turns the counts into the position of the first item of each distance.
    int64_t* positions() {
        int64_t before = 0;
        for (int64_t d = 0; d < n_distances_; ++d) {
            const int64_t here = counts_[d];
            counts_[d] = before;
            before += here;
        }
        return counts_;
    }

private:
    const int64_t n_distances_;
    int64_t counts_[kMaxBits + 2];
};

// Moves the items below `last` and the first `ties` of those at it to the front. No branch: which items stay is random.
int64_t compact(uint64_t* items, int64_t size, uint64_t last, int64_t ties) {
    int64_t kept = 0;
    for (int64_t i = 0; i < size; ++i) {
        const uint64_t item = items[i];
        const bool tie = item_distance(item) == last;
        items[kept] = item;
        kept += (item_distance(item) < last) | (tie & (ties > 0));
        ties -= tie;
    }
    return kept;
}

// Whether distances are few enough to be counted, for the items that there are.
bool counting_pays(uint64_t max_distance, int64_t size) {
    return max_distance <= kMaxBits + 1 && max_distance <= 8 * static_cast<uint64_t>(size);
}

// keep_nearest without counts.
void keep_nearest_sorted(CandidateList& list) {
    std::vector<uint64_t> sorted(list.items, list.items + list.size);
    std::nth_element(sorted.begin(), sorted.begin() + (list.k - 1), sorted.end());
    const uint64_t last = sorted[static_cast<size_t>(list.k - 1)];
    list.size = std::remove_if(list.items, list.items + list.size, [&](uint64_t item) { return item > last; }) - list.items;
    list.limit = item_distance(last);
}

}  // namespace

void keep_nearest(CandidateList& list) {
    if (list.size < list.k) return;
    if (!counting_pays(list.limit, list.size)) return keep_nearest_sorted(list);
    int64_t ties;
    const uint64_t last = DistanceCounts(list.items, list.size, static_cast<int64_t>(list.limit)).kth(list.k, ties);
    list.size = compact(list.items, list.size, last, ties);
    list.limit = last;
}

void write_nearest(uint64_t* items, int64_t size, int64_t k, int64_t max_distance, const Mask* mask, int32_t* distances, int64_t* ids) {
    const int64_t n_hits = std::min(k, size);
    const auto write = [&](uint64_t item, int64_t at) {
        const int64_t rank = item_rank(item);
        distances[at] = static_cast<int32_t>(item_distance(item));
        ids[at] = mask ? mask->id(rank) : rank;
    };
    if (n_hits > 0 && counting_pays(static_cast<uint64_t>(max_distance), size)) {
        DistanceCounts counts(items, size, max_distance);
        if (size > k) {
            int64_t ties;
            const uint64_t last = counts.kth(k, ties);
            compact(items, size, last, ties);
        }
        int64_t* next = counts.positions();
        for (int64_t i = 0; i < n_hits; ++i) write(items[i], next[item_distance(items[i])]++);
    } else {
        std::partial_sort(items, items + n_hits, items + size);
        for (int64_t i = 0; i < n_hits; ++i) write(items[i], i);
    }
    fill_without_hits(k - n_hits, distances + n_hits, ids + n_hits);
}

void fill_without_hits(int64_t n, int32_t* distances, int64_t* ids) {
    std::fill_n(distances, n, INT32_MAX);
    std::fill_n(ids, n, int64_t{-1});
}

}  // namespace fasthash
