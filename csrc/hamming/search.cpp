#include "search.h"

#include <algorithm>
#include <memory>

#include "../thread_pool.h"
#include "topk.h"

namespace fasthash {

namespace {

constexpr int64_t kMaxQueryBlock = 256;
constexpr int64_t kMinCodesPerTask = 65536;
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kMaxListBytes = int64_t{64} << 20;  // of one task's candidate lists, unless one list is longer

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a search is cut into tasks: blocks of queries times ranges of codes. Ranges are cut only where there are too few
// blocks to keep every thread busy, since each range costs a partial result per query.
struct Plan {
    int64_t query_block, n_blocks, codes_per_range, n_ranges;

    Plan(int64_t n_queries, int64_t n_codes, int64_t max_query_block, int threads) {
        const int64_t wanted_tasks = threads == 1 ? 1 : threads * kTasksPerThread;
        query_block = std::clamp<int64_t>(ceil_div(n_queries, wanted_tasks), std::min<int64_t>(8, max_query_block), max_query_block);
        n_blocks = ceil_div(n_queries, query_block);
        const int64_t most_ranges = std::max<int64_t>(1, n_codes / kMinCodesPerTask);
        n_ranges = std::clamp<int64_t>(ceil_div(wanted_tasks, std::max<int64_t>(1, n_blocks)), 1, most_ranges);
        codes_per_range = ceil_div(ceil_div(n_codes, n_ranges), Mask::kBlock) * Mask::kBlock;
        n_ranges = std::max<int64_t>(1, ceil_div(n_codes, std::max<int64_t>(1, codes_per_range)));
    }
};

// One task's share: queries [first_query, last_query) against codes [first_code, last_code).
struct Share {
    int64_t range, first_query, last_query, first_code, last_code;

    Share(const Plan& plan, int64_t task, int64_t n_queries, int64_t n_codes)
        : range(task % plan.n_ranges),
          first_query(task / plan.n_ranges * plan.query_block),
          last_query(std::min(first_query + plan.query_block, n_queries)),
          first_code(range * plan.codes_per_range),
          last_code(std::min(first_code + plan.codes_per_range, n_codes)) {}

    int64_t n_queries() const { return last_query - first_query; }
};

// Calls visit(tile, i, words of query first_query + i) for every tile of the share and every one of its queries.
template <class Visit>
void visit_tiles(const CodeSet& set, const QuerySet& queries, const Share& share, int64_t rows_bytes, Job& job, const Visit& visit) {
    const int n_words = set.n_words();
    std::vector<uint64_t> words(static_cast<size_t>(share.n_queries() * n_words));
    for (int64_t i = 0; i < share.n_queries(); ++i) {
        code_to_words(queries.codes + (share.first_query + i) * set.n_bytes, set.n_bytes, words.data() + i * n_words, 1);
    }
    TileReader reader(set, share.first_code, share.last_code, rows_bytes);
    for (CodeTile tile; reader.next(tile);) {
        for (int64_t i = 0; i < share.n_queries(); ++i) visit(tile, i, words.data() + i * n_words);
        job.checkpoint(share.n_queries() * tile.count * n_words / 4 + 1);
    }
}

// How to read codes for a scan (see TileReader): a tile that is scanned for few queries need not stay in the cache.
int64_t rows_bytes(const CodeSet& set, const Share& share, const HammingKernel& kernel) {
    if (share.n_queries() > kernel.rows_up_to(set.n_words())) return 0;
    return share.n_queries() <= 2 ? 8 * kTileBytes : kTileBytes;
}

int64_t list_capacity(int64_t k, int64_t n_codes) { return std::min(k + std::max<int64_t>(k, 1024), n_codes) + kTileGroup; }

}  // namespace

void search_topk(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances, int64_t* ids) {
    const int64_t k_found = std::min(k, set.n_eligible());
    if (k_found == 0) {
        std::fill(distances, distances + queries.n_queries * k, kNoDistance);
        std::fill(ids, ids + queries.n_queries * k, int64_t{-1});
        return;
    }
    const int64_t capacity = list_capacity(k_found, set.n_eligible());
    const int64_t affordable = std::max<int64_t>(1, kMaxListBytes / (capacity * 8));
    const Plan plan(queries.n_queries, set.n_codes, std::min(kMaxQueryBlock, affordable), options.threads);
    const bool merged = plan.n_ranges > 1;
    std::vector<std::vector<uint64_t>> parts(merged ? static_cast<size_t>(plan.n_ranges * queries.n_queries) : 0);

    parallel_for(plan.n_blocks * plan.n_ranges, options.threads, [&](Job& job, int64_t task) {
        const Share share(plan, task, queries.n_queries, set.n_codes);
        const std::unique_ptr<uint64_t[]> items(new uint64_t[static_cast<size_t>(share.n_queries() * capacity)]);
        std::vector<CandidateList> lists(static_cast<size_t>(share.n_queries()));
        for (size_t i = 0; i < lists.size(); ++i) {
            lists[i] = {items.get() + static_cast<int64_t>(i) * capacity, 0, capacity, static_cast<uint64_t>(set.n_bytes) * 8 + 1, k_found, keep_nearest};
        }
        visit_tiles(set, queries, share, rows_bytes(set, share, options.kernel), job, [&](const CodeTile& tile, int64_t i, const uint64_t* words) {
            CandidateList& list = lists[static_cast<size_t>(i)];
            if (list.limit > 0) options.kernel.scan(tile, set.n_words(), words, list);
        });
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            CandidateList& list = lists[static_cast<size_t>(i)];
            const int64_t query = share.first_query + i;
            if (merged) {
                keep_nearest(list);
                parts[static_cast<size_t>(query * plan.n_ranges + share.range)].assign(list.items, list.items + list.size);
            } else {
                write_nearest(list.items, list.size, k, set, distances + query * k, ids + query * k);
            }
        }
    }, options.interrupted);

    if (!merged) return;
    parallel_for(queries.n_queries, options.threads, [&](Job& job, int64_t query) {
        std::vector<uint64_t> items;
        for (int64_t range = 0; range < plan.n_ranges; ++range) {
            const std::vector<uint64_t>& part = parts[static_cast<size_t>(query * plan.n_ranges + range)];
            items.insert(items.end(), part.begin(), part.end());
        }
        write_nearest(items.data(), static_cast<int64_t>(items.size()), k, set, distances + query * k, ids + query * k);
        job.checkpoint(static_cast<int64_t>(items.size()));
    }, options.interrupted);
}

namespace {

// A candidate list that grows instead of being cut back.
struct GrowingList : CandidateList {
    std::vector<uint64_t> storage;

    explicit GrowingList(uint64_t limit) : CandidateList{nullptr, 0, 0, limit, 0, grow}, storage(1024) { point(); }
    void point() {
        items = storage.data();
        capacity = static_cast<int64_t>(storage.size());
    }
    static void grow(CandidateList& list) {
        GrowingList& self = static_cast<GrowingList&>(list);
        self.storage.resize(self.storage.size() * 2);
        self.point();
    }
};

}  // namespace

RadiusSearch::RadiusSearch(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options)
    : set_(set), hits_(static_cast<size_t>(queries.n_queries)) {
    const Plan plan(queries.n_queries, set.n_codes, kMaxQueryBlock, options.threads);
    std::vector<std::vector<uint64_t>> parts(static_cast<size_t>(plan.n_ranges * queries.n_queries));
    const uint64_t limit = static_cast<uint64_t>(std::min<int64_t>(radius, set.n_bytes * 8)) + 1;

    parallel_for(plan.n_blocks * plan.n_ranges, options.threads, [&](Job& job, int64_t task) {
        const Share share(plan, task, queries.n_queries, set.n_codes);
        std::vector<GrowingList> lists;
        lists.reserve(static_cast<size_t>(share.n_queries()));
        for (int64_t i = 0; i < share.n_queries(); ++i) lists.emplace_back(limit);
        visit_tiles(set, queries, share, rows_bytes(set, share, options.kernel), job, [&](const CodeTile& tile, int64_t i, const uint64_t* words) {
            options.kernel.scan(tile, set.n_words(), words, lists[static_cast<size_t>(i)]);
        });
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            GrowingList& list = lists[static_cast<size_t>(i)];
            parts[static_cast<size_t>((share.first_query + i) * plan.n_ranges + share.range)].assign(list.items, list.items + list.size);
        }
    }, options.interrupted);

    for (int64_t query = 0; query < queries.n_queries; ++query) {
        std::vector<uint64_t>& hits = hits_[static_cast<size_t>(query)];
        for (int64_t range = 0; range < plan.n_ranges; ++range) {
            std::vector<uint64_t>& part = parts[static_cast<size_t>(query * plan.n_ranges + range)];
            if (hits.empty()) hits.swap(part);
            else hits.insert(hits.end(), part.begin(), part.end());
            std::vector<uint64_t>().swap(part);
        }
    }
}

void RadiusSearch::write_offsets(int64_t* offsets) const {
    *offsets = 0;
    for (const std::vector<uint64_t>& hits : hits_) {
        offsets[1] = offsets[0] + static_cast<int64_t>(hits.size());
        ++offsets;
    }
}

void RadiusSearch::write_hits(int32_t* distances, int64_t* ids) const {
    for (const std::vector<uint64_t>& hits : hits_) {
        const int64_t n_hits = static_cast<int64_t>(hits.size());
        write_nearest(hits.data(), n_hits, n_hits, set_, distances, ids);
        distances += n_hits;
        ids += n_hits;
    }
}

void all_distances(const CodeSet& set, const QuerySet& queries, const SearchOptions& options, int32_t* distances) {
    const Plan plan(queries.n_queries, set.n_codes, kMaxQueryBlock, options.threads);
    parallel_for(plan.n_blocks * plan.n_ranges, options.threads, [&](Job& job, int64_t task) {
        const Share share(plan, task, queries.n_queries, set.n_codes);
        visit_tiles(set, queries, share, set.n_words() == 1 ? kTileBytes : 0, job, [&](const CodeTile& tile, int64_t i, const uint64_t* words) {
            options.kernel.distances(tile, set.n_words(), words, distances + (share.first_query + i) * set.n_codes + tile.base);
        });
    }, options.interrupted);
}

}  // namespace fasthash
