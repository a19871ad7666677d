#pragma once

#include <cstdint>
#include <vector>

#include "../hamming/query_set.h"
#include "kernel.h"

namespace fasthash {

// The sum of the magnitudes of the weights at the bits where a code, given as words, has the other sign.
uint64_t weighted_distance(const uint64_t* code, int64_t n_words, const uint64_t* query, int n_columns);

// Queries of int8 weights, one a bit of the codes, as the filter reads them. Planes of the lowest columns are left out as long as the lower
// bound without them tells nearly every code.
template <class Offset>
class WeightedQueries {
public:
    // Planes begin plane_words apart, and that of zeros after them.
    WeightedQueries(const QuerySet& queries, int n_bits, int64_t first, int64_t last, int64_t plane_words);

    const WeightedQuery<Offset>& operator[](int64_t i) const { return filters_[static_cast<size_t>(i)].query; }  // of query first + i

    int n_columns() const;  // of all of them

    // Makes the plane of zeros one elsewhere, so many words from a group's first.
    void put_zeros(Offset zeros);

    // Tells of so many groups of codes that query i has filtered, and how many codes passed.
    void filtered(int64_t i, int64_t n_groups, int64_t n_passed);

private:
    struct PlaneList {
        size_t first;  // in planes_
        int n_planes;  // without those of zeros that fill up the last block
    };
    struct Filter {
        WeightedQuery<Offset> query;
        PlaneList lists[kMaxColumns][2];  // of each column's negative and positive weights
        int left_out = 0;                 // small blocks
        int step = 1;                     // so many more are tried next, or fewer if that was too many
        bool more = false;                // whether more were tried last
        int64_t n_groups = 0, n_passed = 0;
    };
    void add(const int8_t* weights, int n_bits);
    void leave_out(Filter& filter, int n_blocks);

    const int64_t plane_words_;
    Offset zeros_;
    std::vector<uint64_t> words_;
    std::vector<Offset> planes_;
    std::vector<Filter> filters_;
};

}  // namespace fasthash
