#include "sampled_limits.h"

#include <cmath>

#include "../thread_pool.h"
#include "candidate_lists.h"
#include "scan_share.h"
#include "search_plan.h"

namespace fasthash {

namespace {

// The size of the sample that makes a search cheapest.
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
    static constexpr double kCandidateCost = 300;  // in comparisons of 64 bits

    // Of n codes in random order, those below the limit when their turn comes; it falls once for every k of them.
    static double expected_candidates(int64_t k, int64_t n) {
        return static_cast<double>(k) * std::log2(2.0 * static_cast<double>(n) / static_cast<double>(k));
    }
};

}  // namespace

std::vector<uint64_t> sampled_limits(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options) {
    std::vector<uint64_t> limits(static_cast<size_t>(queries.n_queries), no_limit(set));
    const Sample sample(k, set.n_codes, set.n_words(), queries.n_queries);
    if (sample.n_codes == 0) return limits;
    const int64_t n_blocks = set.n_codes / Mask::kBlock, n_sampled = sample.n_codes / Mask::kBlock;
    const int64_t capacity = CandidateLists::capacity(sample.k, sample.n_codes);
    const SearchPlan plan(queries.n_queries, sample.n_codes, options.threads, kMaxQueryBlock, 1);
    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        ShareScan scan(set, queries, share, options.kernel);
        CandidateLists lists(share.n_queries(), sample.k, capacity, [&](int64_t) { return no_limit(set); });
        for (int64_t i = 0; i < n_sampled; ++i) {
            const int64_t first = n_blocks * i / n_sampled * Mask::kBlock;
            scan.scan(first, first + Mask::kBlock, job, [&](int64_t q) -> CandidateList& { return lists[q]; });
        }
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            keep_nearest(lists[i]);
            if (lists[i].size == sample.k) limits[static_cast<size_t>(share.first_query + i)] = lists[i].limit + 1;
        }
    });
    return limits;
}

}  // namespace fasthash
