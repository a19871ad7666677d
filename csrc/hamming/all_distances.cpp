#include "../thread_pool.h"
#include "search.h"
#include "search_plan.h"

namespace fasthash {

void all_distances(const CodeSet& set, const QuerySet& queries, const SearchOptions& options, int32_t* distances) {
    const SearchPlan plan(queries.n_queries, set.n_codes, options.threads, Mask::kBlock);
    const int64_t rows_bytes = set.n_words() == 1 ? kTileBytes : 0;
    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        const QueryWords words(queries, set.n_bytes, share.first_query, share.last_query);
        TileReader reader(set, share.first_code, share.last_code, rows_bytes);
        for (CodeTile tile; reader.next(tile);) {
            for (int64_t i = 0; i < share.n_queries(); ++i) {
                options.kernel.distances(tile, set.n_words(), words[i], distances + (share.first_query + i) * set.n_codes + tile.base);
            }
            job.checkpoint(share.n_queries() * tile.count * set.n_words() / 4 + 1);
        }
    });
}

}  // namespace fasthash
