#include "query_set.h"

#include <algorithm>

#include "../rounding.h"
#include "code_set.h"

namespace fasthash {

QueryWords::QueryWords(const QuerySet& queries, int n_bytes, int64_t first, int64_t last)
    : n_words_(ceil_div(n_bytes, 8)), words_(static_cast<size_t>((last - first) * n_words_)) {
    for (int64_t i = 0; i < last - first; ++i) {
        code_to_words(queries.codes + (first + i) * n_bytes, n_bytes, words_.data() + i * n_words_, 1);
    }
}

QuerySubset::QuerySubset(const QuerySet& queries, int n_bytes, const std::vector<int64_t>& which)
    : which_(which), codes_(which.size() * static_cast<size_t>(n_bytes)) {
    uint8_t* code = codes_.data();
    for (int64_t query : which_) code = std::copy_n(queries.codes + query * n_bytes, n_bytes, code);
}

void QuerySubset::search_topk(int64_t k, int32_t* distances, int64_t* ids, const std::function<void(int32_t*, int64_t*)>& search) const {
    std::vector<int32_t> found_distances(which_.size() * static_cast<size_t>(k));
    std::vector<int64_t> found_ids(found_distances.size());
    search(found_distances.data(), found_ids.data());
    for (size_t i = 0; i < which_.size(); ++i) {
        std::copy_n(found_distances.data() + static_cast<int64_t>(i) * k, k, distances + which_[i] * k);
        std::copy_n(found_ids.data() + static_cast<int64_t>(i) * k, k, ids + which_[i] * k);
    }
}

}  // namespace fasthash
