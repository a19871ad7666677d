#pragma once

#include <cstdint>

#include "../thread_pool.h"
#include "code_set.h"
#include "query_set.h"
#include "search_plan.h"

namespace fasthash {

// Calls visit(tile, i, words of query first_query + i) for every tile of the share, as TileReader makes them, and every one of its queries.
template <class Visit>
void visit_tiles(const CodeSet& set, const QuerySet& queries, const SearchShare& share, int64_t rows_bytes, Job& job, const Visit& visit) {
    const QueryWords words(queries, set.n_bytes, share.first_query, share.last_query);
    TileReader reader(set, share.first_code, share.last_code, rows_bytes);
    for (CodeTile tile; reader.next(tile);) {
        for (int64_t i = 0; i < share.n_queries(); ++i) visit(tile, i, words[i]);
        job.checkpoint(share.n_queries() * tile.count * set.n_words() / 4 + 1);
    }
}

// Scans a share's codes, with list(i) the CandidateList of query first_query + i.
template <class List>
void scan_share(const CodeSet& set, const QuerySet& queries, const SearchShare& share, const HammingKernel& kernel, Job& job,
                const List& list) {
    // A tile that is scanned for few queries need not stay in the cache.
    const int64_t tile_bytes = share.n_queries() <= 2 ? 8 * kTileBytes : kTileBytes;
    const int64_t rows_bytes = share.n_queries() <= kernel.rows_up_to(set.n_words()) ? tile_bytes : 0;
    visit_tiles(set, queries, share, rows_bytes, job, [&](const CodeTile& tile, int64_t i, const uint64_t* words) {
        if (list(i).limit > 0) kernel.scan(tile, set.n_words(), words, list(i));
    });
}

}  // namespace fasthash
