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

    StoredScan(const StoredCodes& set, const QuerySet& queries, const SearchShare& share, const SearchOptions&)
        : set_(set),
          n_bits_(static_cast<int>(set.n_bits())),
          n_queries_(share.n_queries()),
          queries_(QueryWords(queries, set.n_bytes, share.first_query, share.last_query), n_queries_, n_bits_) {
        const int64_t n_planes = static_cast<int64_t>(queries_.planes_read().size());
        tile_lines_ = n_queries_ == 1 ? kPlaneLines : std::clamp<int64_t>(kTileBytes / (n_planes * 8 * kLineWords), 1, kPlaneLines);
        lines_ahead_ = std::clamp<int64_t>((kFetchedLines + n_planes / 2) / n_planes, 1, 4);
    }

    // Scans codes [first, last), with list(i) the CandidateList of the share's query i.
    template <class List>
    void scan(int64_t first, int64_t last, Job& job, const List& list) {
        int64_t entered = -1;
        for (int64_t line = first / kLineCodes, end = ceil_div(last, kLineCodes); line < end;) {
            const int64_t block = line / kPlaneLines, place = line % kPlaneLines;
            const int64_t n_lines = std::min({tile_lines_, kPlaneLines - place, end - line});
            if (block != entered) queries_.enter(set_.block(entered = block));
            const StoredTile tile{set_.block(block), set_.block_mask(block),          block * kBlockCodes, place,
                                  n_lines,           n_queries_ == 1 ? lines_ahead_ : 0};
            line += n_lines;
            const int64_t n_next = std::min(tile_lines_, end - line);
            for (int64_t i = 0; i < n_queries_; ++i) {
                if (n_queries_ > 1) fetch(line, n_next, i);
                if (list(i).limit > 0) set_.kernel.filter(tile, n_bits_, queries_[i], list(i));
            }
            job.checkpoint(n_queries_ * n_lines * kLineCodes * set_.n_words() / 16 + 1);
        }
    }

private:
    static constexpr int64_t kTileBytes = int64_t{1} << 15;  // of a tile for several queries
    static constexpr int64_t kFetchedLines = 100;            // about so many are fetched at a time for one query

    // Fetches the i-th query's part of the tile that comes next.
    void fetch(int64_t line, int64_t n_lines, int64_t i) const {
        if (n_lines <= 0) return;
        const std::vector<int64_t>& planes = queries_.planes_read();
        const int64_t n_planes = static_cast<int64_t>(planes.size());
        const uint64_t* const first = set_.block(line / kPlaneLines) + line % kPlaneLines * kLineWords;
        n_lines = std::min(n_lines, kPlaneLines - line % kPlaneLines);
        for (int64_t plane = n_planes * i / n_queries_; plane < n_planes * (i + 1) / n_queries_; ++plane) {
            for (int64_t l = 0; l < n_lines; ++l) __builtin_prefetch(first + planes[static_cast<size_t>(plane)] + l * kLineWords);
        }
    }

    const StoredCodes& set_;
    const int n_bits_;
    const int64_t n_queries_;
    StoredQueries queries_;
    int64_t tile_lines_, lines_ahead_;
};

}  // namespace fasthash
