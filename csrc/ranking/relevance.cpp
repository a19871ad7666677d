#include "relevance.h"

namespace fasthash {

Relevance relevance_of(const Labels& labels, int64_t query, int64_t first, int64_t n, int32_t* common) {
    const int32_t* const wanted = labels.queries + query * labels.n_words;
    const auto plane = [&](int64_t word) { return labels.codes + word * labels.n_codes + first; };
    if (!labels.shared) return {plane(0), wanted[0], false};
    int64_t n_wanted = 0, last = 0;
    for (int64_t word = 0; word < labels.n_words; ++word) {
        if (wanted[word] == 0) continue;
        ++n_wanted;
        last = word;
    }
    if (n_wanted <= 1) return {plane(last), wanted[last], true};
    for (int64_t i = 0; i < n; ++i) common[i] = plane(last)[i] & wanted[last];
    for (int64_t word = 0; word < last; ++word) {
        if (wanted[word] == 0) continue;
        for (int64_t i = 0; i < n; ++i) common[i] |= plane(word)[i] & wanted[word];
    }
    return {common, -1, true};
}

}  // namespace fasthash
