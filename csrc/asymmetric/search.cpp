#include "search.h"

#include <algorithm>
#include <cstdlib>

#include "../hamming/find_nearest.h"
#include "weighted_scan.h"

namespace fasthash {

WeightedSet weighted_set(const CodeSet& set, const QuerySet& queries, Isa isa) {
    int64_t largest = 0;
    for (int64_t i = 0; i < queries.n_queries; ++i) {
        const int8_t* const weights = reinterpret_cast<const int8_t*>(queries.codes) + i * set.n_bits();
        int64_t total = 0;
        for (int64_t bit = 0; bit < set.n_bits(); ++bit) total += std::abs(weights[bit]);
        largest = std::max(largest, total);
    }
    return {set, asymmetric_kernel(isa), largest};
}

void search_topk(const WeightedSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options, int32_t* distances,
                 int64_t* ids) {
    find_nearest<WeightedScan>(set, queries, k, options, distances, ids);
}

}  // namespace fasthash
