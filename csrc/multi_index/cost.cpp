#include "cost.h"

#include <algorithm>
#include <cmath>

#include "../hamming/search_plan.h"
#include "../rounding.h"

namespace fasthash {

namespace {

constexpr double kCache = 2 << 20;   // in bytes
constexpr double kReadCost = 0.6;    // of 64 bits that are not in the cache
constexpr double kGatherCost = 2.0;  // of 64 bits of an eligible code, once for a block of queries
constexpr double kPlanesCost = 12;   // of making bit planes, in comparisons on them
constexpr double kEntryCost = 40;    // of placing an entry in a table

// Of a word of a code with the queries.
double comparisons_cost(int64_t n_queries, const SearchPlan& plan, const CodeSet& set, const HammingKernel& kernel) {
    if (plan.query_block < kernel.planes.from_queries(static_cast<int>(set.n_bits()))) {
        return kernel.comparison_cost * static_cast<double>(n_queries);
    }
    return kernel.planes.comparison_cost * (static_cast<double>(n_queries) + kPlanesCost * static_cast<double>(plan.n_blocks));
}

}  // namespace

ProbeCost::ProbeCost(const Tables& tables, const MultiIndexKernel& kernel) {
    // Every doubling of what does not fit the second-level cache makes a look-up wait longer.
    const double doublings = std::clamp(std::log2(static_cast<double>(tables.memory()) / kCache), 0.0, 10.0);
    const bool words = tables[0].words.get() != nullptr;
    probe = 4 + (words ? 2.7 : 1.5) * doublings;
    candidate = (words ? 1.3 : 5 + 1.2 * doublings) + kernel.popcount_cost;
}

double scan_cost(const CodeSet& set, int64_t n_queries, int threads, const HammingKernel& kernel) {
    const double words = static_cast<double>(set.n_eligible() * set.n_words());
    const double once = set.mask ? kGatherCost * static_cast<double>(ceil_div(n_queries, kMaxQueryBlock)) : kReadCost;
    return words * std::max(once, comparisons_cost(n_queries, SearchPlan(n_queries, set.n_codes, threads, Mask::kBlock), set, kernel)) /
           threads;
}

double build_cost(int64_t n_codes, int64_t n_tables, int threads) {
    return kEntryCost * static_cast<double>(n_codes * ceil_div(n_tables, threads));
}

}  // namespace fasthash
