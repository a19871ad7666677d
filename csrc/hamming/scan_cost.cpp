#include "scan_cost.h"

#include <algorithm>

#include "search_plan.h"

namespace fasthash {

namespace {

constexpr double kReadCost = 0.6;         // of 64 bits that are not in the cache
constexpr double kGatherCost = 1.5;       // of an eligible code beside others that are not
constexpr double kGatherWordCost = 0.75;  // of each of its words
constexpr double kPlanesCost = 12;        // of making bit planes, in comparisons on them
constexpr double kLineWords = 8;          // are read with a word
constexpr double kScatteredRead = 4;      // times as long as one after the other

// Of a word of a code with the queries.
double comparisons_cost(int64_t n_queries, const SearchPlan& plan, const CodeSet& set, const HammingKernel& kernel) {
    if (plan.query_block < kernel.planes.from_queries(static_cast<int>(set.n_bits()))) {
        return kernel.comparison_cost * static_cast<double>(n_queries);
    }
    return kernel.planes.comparison_cost * (static_cast<double>(n_queries) + kPlanesCost * static_cast<double>(plan.n_blocks));
}

double cost(const CodeSet& set, int64_t n_queries, int threads, const HammingKernel& kernel) {
    const SearchPlan plan(n_queries, set.n_codes, threads, Mask::kBlock);
    const Mask* const gathered = set.ranks();
    const double n_words = set.n_words(), n_codes = static_cast<double>(set.n_codes);
    double scattered = 0, read = n_codes, compared = n_codes;
    if (gathered) {
        scattered = static_cast<double>(gathered->n_scattered());
        compared = static_cast<double>(set.n_eligible());
        read = compared - scattered + std::min(n_codes, kScatteredRead * scattered * std::max(1.0, kLineWords / n_words));
    }
    const double gathering = scattered * (kGatherCost + kGatherWordCost * n_words) * static_cast<double>(plan.n_blocks);
    const double scanning = n_words * std::max(kReadCost * read, comparisons_cost(n_queries, plan, set, kernel) * compared);
    return (gathering + scanning) / threads;
}

}  // namespace

CodeSet as_scanned(CodeSet set, int64_t n_queries, int threads, const HammingKernel& kernel) {
    if (!set.mask) return set;
    set.gather = false;
    const double in_place = cost(set, n_queries, threads, kernel);
    set.gather = true;
    set.gather = cost(set, n_queries, threads, kernel) < in_place;
    return set;
}

double scan_cost(const CodeSet& set, int64_t n_queries, int threads, const HammingKernel& kernel) {
    return cost(as_scanned(set, n_queries, threads, kernel), n_queries, threads, kernel);
}

}  // namespace fasthash
