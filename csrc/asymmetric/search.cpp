#include "search.h"

#include <algorithm>
#include <vector>

#include "../hamming/find_nearest.h"
#include "weighted_scan.h"

namespace fasthash {

template <class T>
void search_topk(const CodeSet& set, const QuantizedQueries<T>& queries, int64_t k, Isa isa, const SearchOptions& options, T* scores,
                 int64_t* ids) {
    if (queries.totals.empty()) return;
    const int64_t largest = *std::max_element(queries.totals.begin(), queries.totals.end());
    const WeightedSet weighted{set, asymmetric_kernel(isa), largest};
    std::vector<int32_t> distances(queries.totals.size() * static_cast<size_t>(k));
    find_nearest<WeightedScan>(weighted, queries.set(), k, options, distances.data(), ids);
    queries.write_scores(distances.data(), ids, k, scores);
}

template void search_topk(const CodeSet&, const QuantizedQueries<float>&, int64_t, Isa, const SearchOptions&, float*, int64_t*);
template void search_topk(const CodeSet&, const QuantizedQueries<double>&, int64_t, Isa, const SearchOptions&, double*, int64_t*);

}  // namespace fasthash
