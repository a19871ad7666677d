#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace fasthash {

// Row-major packed queries, as wide as the codes that they are compared with.
struct QuerySet {
    const uint8_t* codes;
    int64_t n_queries;
};

// Queries [first, last) as words, the rest of the last word of each zero.
class QueryWords {
public:
    QueryWords(const QuerySet& queries, int n_bytes, int64_t first, int64_t last);
    const uint64_t* operator[](int64_t i) const { return words_.data() + i * n_words_; }  // of query first + i

private:
    const int64_t n_words_;
    std::vector<uint64_t> words_;
};

// Some of the queries, side by side.
class QuerySubset {
public:
    QuerySubset(const QuerySet& queries, int n_bytes, const std::vector<int64_t>& which);
    QuerySet set() const { return {codes_.data(), static_cast<int64_t>(which_.size())}; }

    // Searches for them alone and writes their rows of a result for all the queries.
    void search_topk(int64_t k, int32_t* distances, int64_t* ids,
                     const std::function<void(int32_t* distances, int64_t* ids)>& search) const;

private:
    const std::vector<int64_t>& which_;
    std::vector<uint8_t> codes_;
};

}  // namespace fasthash
