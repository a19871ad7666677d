#include "probe_or_scan.h"

#include <algorithm>
#include <numeric>

#include "../hamming/scan_cost.h"
#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kMaxQueriesPerTask = 32;

// What a scan costs for each of the queries, as the threads share them out.
double scan_cost_of_one(const CodeSet& set, int64_t n_queries, const SearchOptions& options) {
    return scan_cost(set, n_queries, options.threads, options.kernel) / static_cast<double>(ceil_div(n_queries, options.threads));
}

}  // namespace

bool worth_probing(const Tables& tables, const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options,
                   const FoundCodes& nothing) {
    if (n_queries == 0) return false;
    const double scan_cost = scan_cost_of_one(set, n_queries, options.scan);
    return Prober(tables, set, options, scan_cost, std::min(n_queries, kMaxQueriesPerTask)).affords(nothing);
}

std::vector<int64_t> probe_queries(const Tables& tables, const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options,
                                   const std::function<ProbeQuery()>& begin_task) {
    std::vector<int64_t> left(static_cast<size_t>(n_queries));
    std::iota(left.begin(), left.end(), int64_t{0});
    // A scan for a few queries costs each of them more than a scan for many does, so that the tables may do for the few that are left.
    for (size_t n_before = SIZE_MAX; !left.empty() && left.size() <= n_before / 2;) {
        n_before = left.size();
        const int64_t n = static_cast<int64_t>(n_before);
        const double scan_cost = scan_cost_of_one(set, n, options.scan);
        std::vector<Outcome> outcomes(n_before, Outcome::too_dear);
        const int64_t per_task = std::clamp<int64_t>(n / (4 * options.scan.threads), 1, kMaxQueriesPerTask);
        parallel_for(ceil_div(n, per_task), options.scan.threads, options.scan.interrupted, [&](Job& job, int64_t task) {
            const int64_t first = task * per_task, last = std::min(first + per_task, n);
            Prober prober(tables, set, options, scan_cost, last - first);
            const ProbeQuery probe = begin_task();
            for (int64_t i = first; i < last && !prober.exhausted(); ++i) {
                outcomes[static_cast<size_t>(i)] = probe(prober, left[static_cast<size_t>(i)], job);
            }
        });
        size_t kept = 0;
        for (size_t i = 0; i < n_before; ++i) {
            if (outcomes[i] == Outcome::too_dear) left[kept++] = left[i];
        }
        left.resize(kept);
    }
    return left;
}

}  // namespace fasthash
