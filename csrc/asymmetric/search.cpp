#include "search.h"

#include <algorithm>
#include <vector>

#include "../hamming/find_nearest.h"
#include "stored_scan.h"
#include "weighted_scan.h"

namespace fasthash {

namespace {

template <class Scan, class T>
void find_best(const typename Scan::Set& set, const QuantizedQueries<T>& queries, int64_t k, const SearchOptions& options, T* scores,
               int64_t* ids) {
    std::vector<int32_t> distances(queries.totals.size() * static_cast<size_t>(k));
    find_nearest<Scan>(set, queries.set(), k, options, distances.data(), ids);
    queries.write_scores(distances.data(), ids, k, scores);
}

template <class T>
int64_t largest_total(const QuantizedQueries<T>& queries) {
    const auto largest = std::max_element(queries.totals.begin(), queries.totals.end());
    return largest == queries.totals.end() ? 0 : *largest;
}

}  // namespace

template <class T>
void search_topk(const CodeSet& set, const QuantizedQueries<T>& queries, int64_t k, Isa isa, const SearchOptions& options, T* scores,
                 int64_t* ids) {
    find_best<WeightedScan>({set, asymmetric_kernel(isa), largest_total(queries)}, queries, k, options, scores, ids);
}

template <class T>
void search_topk(const StoredCodes& set, const QuantizedQueries<T>& queries, int64_t k, Isa isa, const SearchOptions& options, T* scores,
                 int64_t* ids) {
    find_best<WeightedStoredScan>({set, asymmetric_kernel(isa), largest_total(queries)}, queries, k, options, scores, ids);
}

template void search_topk(const CodeSet&, const QuantizedQueries<float>&, int64_t, Isa, const SearchOptions&, float*, int64_t*);
template void search_topk(const CodeSet&, const QuantizedQueries<double>&, int64_t, Isa, const SearchOptions&, double*, int64_t*);
template void search_topk(const StoredCodes&, const QuantizedQueries<float>&, int64_t, Isa, const SearchOptions&, float*, int64_t*);
template void search_topk(const StoredCodes&, const QuantizedQueries<double>&, int64_t, Isa, const SearchOptions&, double*, int64_t*);

}  // namespace fasthash
