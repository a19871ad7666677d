#pragma once

#include <cstdint>
#include <vector>

#include "../hamming/query_set.h"
#include "kernel.h"

namespace fasthash {

// Queries of int8 weights, one a bit of the codes, as the filter reads them.
class WeightedQueries {
public:
    WeightedQueries(const QuerySet& queries, int n_bits, int64_t first, int64_t last, int64_t plane_words);
    WeightedQuery operator[](int64_t i) const;  // query first + i

private:
    struct Lists {
        size_t words, runs, planes;  // where they begin
        int n_columns, n_counters;
        int64_t positive, total;
    };
    void add(const int8_t* weights, int n_bits);
    void add_run(const int8_t* weights, int n_bits, int sign, int column);

    const int64_t plane_words_;
    std::vector<uint64_t> words_;
    std::vector<uint16_t> planes_;
    std::vector<PlaneRun> runs_;
    std::vector<Lists> lists_;
};

}  // namespace fasthash
