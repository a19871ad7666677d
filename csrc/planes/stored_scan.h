#pragma once

#include <algorithm>
#include <cstdint>

#include "../hamming/query_set.h"
#include "../hamming/search.h"
#include "../hamming/search_plan.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "stored_codes.h"
#include "stored_queries.h"

namespace fasthash {

// A share's queries, ready to be compared with stored codes.
class StoredScan {
public:
    using Set = StoredCodes;
    static constexpr int64_t kUnit = kBlockCodes / 3;  // of codes, at whose multiples a scan can begin
    static constexpr int64_t kSpare = 64;              // of a candidate list

    StoredScan(const StoredCodes& set, const QuerySet& queries, const SearchShare& share, const SearchOptions&)
        : set_(set),
          n_bits_(static_cast<int>(set.n_bits())),
          n_queries_(share.n_queries()),
          queries_(QueryWords(queries, set.n_bytes, share.first_query, share.last_query), n_queries_, n_bits_) {
        const int64_t n_planes = static_cast<int64_t>(queries_.planes_read().size());
        tile_lines_ = n_queries_ == 1 ? kPlaneLines : std::clamp<int64_t>(kTileBytes / (n_planes * 8 * kLineWords), 1, kPlaneLines);
        lines_ahead_ = n_queries_ == 1 ? std::clamp<int64_t>(kFetchedLines / n_planes, 1, kPlaneLines) : tile_lines_;
    }

    // Scans codes [first, last), with list(i) the CandidateList of the share's query i.
    template <class List>
    void scan(int64_t first, int64_t last, Job& job, const List& list) {
        const std::vector<int64_t>& planes = queries_.planes_read();
        const int64_t n_planes = static_cast<int64_t>(planes.size());
        const int64_t n_counts = block_planes(n_bits_) - n_bits_;
        const bool alone = n_queries_ == 1;
        int64_t entered = -1;
        for (int64_t line = first / kLineCodes, end = ceil_div(last, kLineCodes); line < end;) {
            const int64_t block = line / kPlaneLines, place = line % kPlaneLines;
            const int64_t n_lines = std::min({tile_lines_, kPlaneLines - place, end - line});
            if (block != entered) queries_.enter(set_.block(entered = block));
            StoredTile tile{
                set_.block(block), set_.block_mask(block), block * kBlockCodes, place, n_lines, nullptr, 0, lines_ahead_, alone};
            line += n_lines;
            for (int64_t i = 0; i < n_queries_; ++i) {
                const int64_t fetched = alone ? n_planes - n_counts : n_planes * i / n_queries_;
                tile.fetched = planes.data() + fetched;
                tile.n_fetched = n_planes * (i + 1) / n_queries_ - fetched;
                if (list(i).limit > 0) set_.kernel.filter(tile, n_bits_, queries_[i], list(i));
            }
            job.checkpoint(n_queries_ * n_lines * kLineCodes * set_.n_words() / 16 + 1);
        }
    }

private:
    static constexpr int64_t kTileBytes = 40 << 10;  // of a tile for several queries, most of which a first-level cache keeps
    static constexpr int64_t kFetchedLines = 110;    // of one query's planes, so many are on their way at most

    const StoredCodes& set_;
    const int n_bits_;
    const int64_t n_queries_;
    StoredQueries queries_;
    int64_t tile_lines_, lines_ahead_;
};

}  // namespace fasthash
