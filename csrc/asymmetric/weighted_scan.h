#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "../aligned_array.h"
#include "../hamming/code_set.h"
#include "../hamming/search.h"
#include "../hamming/search_plan.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "kernel.h"
#include "weighted_queries.h"

namespace fasthash {

// Rows of codes that are compared by weighted distances.
struct WeightedSet : CodeSet {
    AsymmetricKernel kernel;
    int64_t largest_total;  // of a query's magnitudes

    int query_bytes() const { return static_cast<int>(n_bits()); }  // a weight for each bit
    int64_t max_distance() const { return largest_total; }
};

// A share's queries, ready to be compared with codes.
class WeightedScan {
public:
    using Set = WeightedSet;
    static constexpr int64_t kUnit = Mask::kBlock;  // of codes, at whose multiples a scan can begin
    static constexpr int64_t kSpare = 16;           // of a candidate list: the nearer the limit, the fewer planes are read

    WeightedScan(const WeightedSet& set, const QuerySet& queries, const SearchShare& share, const SearchOptions&)
        : set_(set),
          n_bits_(static_cast<int>(set.n_bits())),
          n_queries_(share.n_queries()),
          queries_(queries, n_bits_, share.first_query, share.last_query, set.kernel.group / 64),
          most_codes_(set.kernel.group) {}

    // Scans codes [first, last), with list(i) the CandidateList of the share's query i.
    template <class List>
    void scan(int64_t first, int64_t last, Job& job, const List& list) {
        const int64_t group = set_.kernel.group;
        TileReader reader(set_, first, last, rows_bytes(), kPlaneBytes, group);
        if (!planes_) planes_.emplace(ceil_div(reader.most_codes(), group) * (n_bits_ + 1) * group / 64);
        for (CodeTile tile; reader.next(tile, most_codes_);) {
            most_codes_ = std::min(2 * most_codes_, reader.most_codes());
            if (tile.code_stride > 1) {
                for (int64_t i = 0; i < n_queries_; ++i) {
                    if (list(i).limit > 0) set_.kernel.scan(tile, set_.n_words(), queries_[i], list(i));
                }
                job.checkpoint(n_queries_ * tile.count * set_.n_words() / 2 + 1);
                continue;
            }
            set_.kernel.make(tile, n_bits_, planes_->get());
            for (int64_t i = 0; i < n_queries_; ++i) {
                reader.prefetch(most_codes_, i, n_queries_);
                if (list(i).limit == 0) continue;
                const int64_t n_passed = set_.kernel.filter(tile, planes_->get(), n_bits_, queries_[i], list(i));
                queries_.filtered(i, ceil_div(tile.count, group), n_passed);
            }
            job.checkpoint(n_queries_ * tile.count * set_.n_words() / 2 + 1);
        }
    }

private:
    static constexpr int64_t kPlaneBytes = 2 * kTileBytes;  // of a tile
    static constexpr int64_t kRowsBytes = 8 * kTileBytes;   // that is scanned for few queries and need not stay in the cache

    int64_t rows_bytes() const {
        if (set_.n_words() == 1) return kPlaneBytes;
        return queries_.n_columns() <= set_.kernel.row_columns(set_.n_words()) ? kRowsBytes : 0;
    }

    const WeightedSet& set_;
    const int n_bits_;
    const int64_t n_queries_;
    WeightedQueries<uint16_t> queries_;
    int64_t most_codes_;  // of the next tile; the limits fall most at the first codes, and at the end of a tile
    std::optional<AlignedArray<uint64_t>> planes_;
};

}  // namespace fasthash
