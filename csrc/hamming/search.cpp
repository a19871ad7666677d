#include "search.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "../thread_pool.h"
#include "topk.h"

namespace fasthash {

namespace {

constexpr int64_t kMinQueryBlock = 64;  // below, making a tile costs as much as scanning it
constexpr int64_t kMaxQueryBlock = 256;
constexpr int64_t kMinCodesPerTask = 65536;
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kMaxListBytes = int64_t{64} << 20;  // of one task's candidate lists, unless one list is longer

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a search is cut into tasks: blocks of queries times ranges of codes, ranges where there are too few blocks to keep
// every thread busy. Tasks of one block follow each other, so that a later range profits from what an earlier one found.
struct Plan {
    int64_t query_block, n_blocks, codes_per_range, n_ranges;

    Plan(int64_t n_queries, int64_t n_codes, int64_t max_query_block, int threads, int64_t max_ranges = INT64_MAX) {
        const int64_t wanted_tasks = threads == 1 ? 1 : threads * kTasksPerThread;
        const int64_t even_block = std::max(ceil_div(n_queries, threads), kMinQueryBlock);
        query_block = std::max<int64_t>(1, std::min({even_block, max_query_block, n_queries}));
        n_blocks = ceil_div(n_queries, query_block);
        const int64_t most_ranges = std::min(max_ranges, std::max<int64_t>(1, n_codes / kMinCodesPerTask));
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

uint64_t no_limit(const CodeSet& set) { return static_cast<uint64_t>(set.n_bytes) * 8 + 1; }

// A sample of the codes that tells, before the search, about how near the k-th hit of a query will be. Without it a search
// for many hits among few codes spends most of its time on candidates that nearer ones displace later.
struct Sample {
    int64_t n_codes = 0;  // 0: no sample is worth its cost
    int64_t k = 0;        // as near as the sample's k-th is, the set almost surely has the k that are wanted

    Sample(int64_t k_wanted, int64_t n, int n_words, int64_t n_queries) {
        // One or two queries wait for memory, not for the comparison.
        const double candidate_cost = kCandidateCost / n_words / (n_queries <= 2 ? 4 : 1);
        double least = 0.9 * (static_cast<double>(n) + candidate_cost * expected_candidates(k_wanted, n));
        for (int64_t size = Mask::kBlock; size <= n / 4; size *= 2) {
            const double share = static_cast<double>(k_wanted) * static_cast<double>(size) / static_cast<double>(n);
            const int64_t rank = static_cast<int64_t>(share + 4 * std::sqrt(share) + 4);
            const double passing = 1.5 * static_cast<double>(rank) * static_cast<double>(n) / static_cast<double>(size);
            const double cost = static_cast<double>(n + size) + candidate_cost * (expected_candidates(rank, size) + passing);
            if (cost < least) {
                least = cost;
                n_codes = size;
                k = rank;
            }
        }
    }

private:
    static constexpr double kCandidateCost = 150;  // in comparisons of 64 bits

    // Of n codes in random order, those below the limit when their turn comes; it falls once for every k of them.
    static double expected_candidates(int64_t k, int64_t n) {
        return static_cast<double>(k) * std::log2(2.0 * static_cast<double>(n) / static_cast<double>(k));
    }
};

int64_t list_capacity(int64_t k, int64_t n_codes) { return std::min(k + std::max<int64_t>(k, 64), n_codes) + kTileGroup; }

// The candidate lists of a share's queries in one piece of memory, query i starting from limit(i).
class CandidateLists {
public:
    template <class Limit>
    CandidateLists(int64_t n_queries, int64_t k, int64_t capacity, const Limit& limit)
        : items_(new uint64_t[static_cast<size_t>(n_queries * capacity)]), lists_(static_cast<size_t>(n_queries)) {
        for (int64_t i = 0; i < n_queries; ++i) (*this)[i] = {items_.get() + i * capacity, 0, capacity, limit(i), k, keep_nearest};
    }
    CandidateList& operator[](int64_t i) { return lists_[static_cast<size_t>(i)]; }

private:
    std::unique_ptr<uint64_t[]> items_;
    std::vector<CandidateList> lists_;
};

// Scans a share's codes, with `list(i)` the candidate list of query first_query + i.
template <class List>
void scan_share(const CodeSet& set, const QuerySet& queries, const Share& share, const HammingKernel& kernel, Job& job, const List& list) {
    visit_tiles(set, queries, share, rows_bytes(set, share, kernel), job, [&](const CodeTile& tile, int64_t i, const uint64_t* words) {
        if (list(i).limit > 0) kernel.scan(tile, set.n_words(), words, list(i));
    });
}

// Per query, a limit that almost surely at least k_wanted eligible codes are below.
std::vector<uint64_t> sampled_limits(const CodeSet& set, const QuerySet& queries, int64_t k_wanted, const SearchOptions& options) {
    std::vector<uint64_t> limits(static_cast<size_t>(queries.n_queries), no_limit(set));
    const Sample sample(k_wanted, set.n_codes, set.n_words(), queries.n_queries);
    if (sample.n_codes == 0) return limits;
    const int64_t n_blocks = set.n_codes / Mask::kBlock, n_sampled = sample.n_codes / Mask::kBlock;
    const int64_t capacity = list_capacity(sample.k, sample.n_codes);
    const Plan plan(queries.n_queries, sample.n_codes, kMaxQueryBlock, options.threads, 1);
    parallel_for(plan.n_blocks, options.threads, [&](Job& job, int64_t task) {
        Share share(plan, task, queries.n_queries, sample.n_codes);
        CandidateLists lists(share.n_queries(), sample.k, capacity, [&](int64_t) { return no_limit(set); });
        for (int64_t i = 0; i < n_sampled; ++i) {
            share.first_code = n_blocks * i / n_sampled * Mask::kBlock;
            share.last_code = share.first_code + Mask::kBlock;
            scan_share(set, queries, share, options.kernel, job, [&](int64_t q) -> CandidateList& { return lists[q]; });
        }
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            keep_nearest(lists[i]);
            if (lists[i].size == sample.k) limits[static_cast<size_t>(share.first_query + i)] = lists[i].limit + 1;
        }
    }, options.interrupted);
    return limits;
}

void lower(std::atomic<uint64_t>& limit, uint64_t value) {
    uint64_t known = limit;
    while (value < known && !limit.compare_exchange_weak(known, value)) {
    }
}

// Searches below each query's limit, and returns the queries that had fewer than k_found codes below it; their rows of
// the result mean nothing.
std::vector<int64_t> search_below(const CodeSet& set, const QuerySet& queries, int64_t k, int64_t k_found,
                                  const std::vector<uint64_t>& first_limits, const SearchOptions& options, int32_t* distances, int64_t* ids) {
    const int64_t capacity = list_capacity(k_found, set.n_eligible());
    const int64_t affordable = std::max<int64_t>(1, kMaxListBytes / (capacity * 8));
    const Plan plan(queries.n_queries, set.n_codes, std::min(kMaxQueryBlock, affordable), options.threads);
    const bool merged = plan.n_ranges > 1;
    std::vector<std::vector<uint64_t>> parts(merged ? static_cast<size_t>(plan.n_ranges * queries.n_queries) : 0);
    // What the ranges finished so far know of each query: k codes are below this limit.
    std::vector<std::atomic<uint64_t>> limits(first_limits.size());
    for (size_t i = 0; i < limits.size(); ++i) limits[i] = first_limits[i];
    std::vector<char> complete(static_cast<size_t>(queries.n_queries));
    const auto finish = [&](int64_t query, uint64_t* items, int64_t size) {
        complete[static_cast<size_t>(query)] = size >= k_found;
        write_nearest(items, size, k, set, distances + query * k, ids + query * k);
    };

    parallel_for(plan.n_blocks * plan.n_ranges, options.threads, [&](Job& job, int64_t task) {
        const Share share(plan, task, queries.n_queries, set.n_codes);
        const auto limit = [&](int64_t i) -> std::atomic<uint64_t>& { return limits[static_cast<size_t>(share.first_query + i)]; };
        CandidateLists lists(share.n_queries(), k_found, capacity, limit);
        scan_share(set, queries, share, options.kernel, job, [&](int64_t i) -> CandidateList& { return lists[i]; });
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            const int64_t query = share.first_query + i;
            if (merged) {
                keep_nearest(lists[i]);
                if (lists[i].size == k_found) lower(limit(i), lists[i].limit + 1);  // a tie in an earlier range may still win
                parts[static_cast<size_t>(query * plan.n_ranges + share.range)].assign(lists[i].items, lists[i].items + lists[i].size);
            } else {
                finish(query, lists[i].items, lists[i].size);
            }
        }
    }, options.interrupted);

    if (merged) {
        parallel_for(queries.n_queries, options.threads, [&](Job& job, int64_t query) {
            std::vector<uint64_t> items;
            for (int64_t range = 0; range < plan.n_ranges; ++range) {
                const std::vector<uint64_t>& part = parts[static_cast<size_t>(query * plan.n_ranges + range)];
                items.insert(items.end(), part.begin(), part.end());
            }
            finish(query, items.data(), static_cast<int64_t>(items.size()));
            job.checkpoint(static_cast<int64_t>(items.size()));
        }, options.interrupted);
    }

    std::vector<int64_t> incomplete;
    for (int64_t query = 0; query < queries.n_queries; ++query) {
        if (!complete[static_cast<size_t>(query)]) incomplete.push_back(query);
    }
    return incomplete;
}

}  // namespace

void search_topk(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances, int64_t* ids) {
    const int64_t k_found = std::min(k, set.n_eligible());
    if (k_found == 0) {
        std::fill(distances, distances + queries.n_queries * k, kNoDistance);
        std::fill(ids, ids + queries.n_queries * k, int64_t{-1});
        return;
    }
    const std::vector<uint64_t> limits = sampled_limits(set, queries, k_found, options);
    const std::vector<int64_t> misled = search_below(set, queries, k, k_found, limits, options, distances, ids);
    if (misled.empty()) return;

    // The sample was no fair one for these queries; without a limit they are complete.
    const QuerySubset subset(queries, set.n_bytes, misled);
    const std::vector<uint64_t> unlimited(misled.size(), no_limit(set));
    subset.search_topk([&](int32_t* found_distances, int64_t* found_ids) {
        search_below(set, subset.set(), k, k_found, unlimited, options, found_distances, found_ids);
    }, k, distances, ids);
}

QuerySubset::QuerySubset(const QuerySet& queries, int n_bytes, const std::vector<int64_t>& which)
    : which_(which), codes_(which.size() * static_cast<size_t>(n_bytes)) {
    uint8_t* code = codes_.data();
    for (int64_t query : which_) code = std::copy_n(queries.codes + query * n_bytes, n_bytes, code);
}

void QuerySubset::search_topk(const std::function<void(int32_t*, int64_t*)>& search, int64_t k, int32_t* distances, int64_t* ids) const {
    std::vector<int32_t> found_distances(which_.size() * static_cast<size_t>(k));
    std::vector<int64_t> found_ids(found_distances.size());
    search(found_distances.data(), found_ids.data());
    for (size_t i = 0; i < which_.size(); ++i) {
        std::copy_n(found_distances.data() + static_cast<int64_t>(i) * k, k, distances + which_[i] * k);
        std::copy_n(found_ids.data() + static_cast<int64_t>(i) * k, k, ids + which_[i] * k);
    }
}

namespace {

// A candidate list that grows instead of being cut back.
struct GrowingList : CandidateList {
    std::vector<uint64_t> storage;

    explicit GrowingList(uint64_t below) : CandidateList{nullptr, 0, 0, below, 0, grow}, storage(1024) { point(); }
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

HitLists search_radius(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options) {
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

    HitLists hits(static_cast<size_t>(queries.n_queries));
    for (int64_t query = 0; query < queries.n_queries; ++query) {
        std::vector<uint64_t>& list = hits[static_cast<size_t>(query)];
        for (int64_t range = 0; range < plan.n_ranges; ++range) {
            std::vector<uint64_t>& part = parts[static_cast<size_t>(query * plan.n_ranges + range)];
            if (list.empty()) list.swap(part);
            else list.insert(list.end(), part.begin(), part.end());
            std::vector<uint64_t>().swap(part);
        }
    }
    return hits;
}

void write_offsets(const HitLists& hits, int64_t* offsets) {
    *offsets = 0;
    for (const std::vector<uint64_t>& list : hits) {
        offsets[1] = offsets[0] + static_cast<int64_t>(list.size());
        ++offsets;
    }
}

void write_hits(HitLists& hits, const CodeSet& set, int32_t* distances, int64_t* ids) {
    for (std::vector<uint64_t>& list : hits) {
        const int64_t n_hits = static_cast<int64_t>(list.size());
        write_nearest(list.data(), n_hits, n_hits, set, distances, ids);
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
