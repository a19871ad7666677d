#include "../thread_pool.h"
#include "scan_share.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

void all_distances(const CodeSet& set, const QuerySet& queries, const SearchOptions& options, int32_t* distances) {
    const SearchPlan plan(queries.n_queries, set.n_codes, options.threads);
    const int64_t rows_bytes = set.n_words() == 1 ? kTileBytes : 0;
    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        visit_tiles(set, queries, share, rows_bytes, job, [&](const CodeTile& tile, int64_t i, const uint64_t* words) {
            options.kernel.distances(tile, set.n_words(), words, distances + (share.first_query + i) * set.n_codes + tile.base);
        });
    });
}

}  // namespace fasthash
