#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "../aligned_array.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "code_set.h"
#include "plane_queries.h"
#include "query_set.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

constexpr int64_t kBitPlaneBytes = 2 * kTileBytes;  // of a tile of bit planes, of which each query reads half

// A share's queries, ready to be compared with codes.
class ShareScan {
public:
    using Set = CodeSet;
    static constexpr int64_t kUnit = Mask::kBlock;  // of codes, at whose multiples a scan can begin
    static constexpr int64_t kSpare = 64;           // of a candidate list

    ShareScan(const CodeSet& set, const QuerySet& queries, const SearchShare& share, const SearchOptions& options)
        : set_(set),
          kernel_(options.kernel),
          n_queries_(share.n_queries()),
          words_(queries, set.n_bytes, share.first_query, share.last_query) {
        const PlaneLayout layout = plane_layout(static_cast<int>(set.n_bits()), kernel_.planes.group / 64);
        if (n_queries_ < kernel_.planes.from_queries(layout.n_bits)) return;
        planes_of_queries_.emplace(words_, n_queries_, layout);
        group_words_ = layout.group_words;
        most_codes_ = kernel_.planes.group;
    }

    // Scans codes [first, last), with list(i) the CandidateList of the share's query i.
    template <class List>
    void scan(int64_t first, int64_t last, Job& job, const List& list) {
        const bool on_bit_planes = planes_of_queries_.has_value();
        TileReader reader(set_, first, last, rows_bytes(), on_bit_planes ? kBitPlaneBytes : kTileBytes,
                          on_bit_planes ? kernel_.planes.group : kTileGroup);
        if (on_bit_planes && !planes_) planes_.emplace(ceil_div(reader.most_codes(), kernel_.planes.group) * group_words_);
        for (CodeTile tile; reader.next(tile, on_bit_planes ? most_codes_ : INT64_MAX);) {
            if (on_bit_planes) {
                most_codes_ = std::min(2 * most_codes_, reader.most_codes());
                filter(tile, reader, list);
            } else {
                for (int64_t i = 0; i < n_queries_; ++i) {
                    if (list(i).limit > 0) kernel_.scan(tile, set_.n_words(), words_[i], list(i));
                }
            }
            job.checkpoint(n_queries_ * tile.count * set_.n_words() / 4 + 1);
        }
    }

private:
    int64_t rows_bytes() const {
        if (planes_of_queries_) return set_.n_words() == 1 ? kBitPlaneBytes : 0;
        if (n_queries_ > kernel_.rows_up_to(set_.n_words())) return 0;
        return n_queries_ <= 2 ? 8 * kTileBytes : kTileBytes;  // a tile that is scanned for few queries need not stay in the cache
    }

    template <class List>
    void filter(const CodeTile& tile, const TileReader& reader, const List& list) {
        const int n_bits = static_cast<int>(set_.n_bits());
        kernel_.planes.make(tile, n_bits, planes_of_queries_->every(), planes_->get());
        for (int64_t i = 0; i < n_queries_; ++i) {
            reader.prefetch(most_codes_, i, n_queries_);
            if (list(i).limit > 0) kernel_.planes.filter(tile, planes_->get(), n_bits, (*planes_of_queries_)[i], list(i));
        }
    }

    const CodeSet& set_;
    const HammingKernel& kernel_;
    const int64_t n_queries_;
    const QueryWords words_;
    std::optional<PlaneQueries> planes_of_queries_;  // where they are searched on bit planes
    int64_t group_words_ = 0;
    int64_t most_codes_ = 0;                        // of the next tile; the limits fall most at the first codes, and at the end of a tile
    std::optional<AlignedArray<uint64_t>> planes_;  // of a tile
};

}  // namespace fasthash
