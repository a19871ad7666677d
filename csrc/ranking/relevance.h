#pragma once

#include <cstdint>

#include "kernel.h"

namespace fasthash {

// Labels as n_words words of 32 bits a code: those of a query together, and those of the codes in planes, the same word of all
// codes together. A code is relevant to a query if its one word is the same or, where `shared`, if any bit is set in both.
struct Labels {
    const int32_t* queries;  // [n_queries, n_words]
    const int32_t* codes;    // [n_words, n_codes]
    int64_t n_codes, n_words;
    bool shared;
};

// Which of the codes [first, first + n) are relevant to a query; `common` is scratch of as many words.
Relevance relevance_of(const Labels& labels, int64_t query, int64_t first, int64_t n, int32_t* common);

// Calls visit(i, whether code code_of(i) is relevant) for each i below n.
template <class CodeOf, class Visit>
void visit_relevant(const Relevance& relevance, int64_t n, const CodeOf& code_of, const Visit& visit) {
    const auto [labels, wanted, shared] = relevance;
    if (shared) {
        for (int64_t i = 0; i < n; ++i) visit(i, (labels[code_of(i)] & wanted) != 0);
    } else {
        for (int64_t i = 0; i < n; ++i) visit(i, labels[code_of(i)] == wanted);
    }
}

template <class Visit>
void visit_relevant(const Relevance& relevance, int64_t n, const Visit& visit) {
    visit_relevant(relevance, n, [](int64_t i) { return i; }, visit);
}

}  // namespace fasthash
