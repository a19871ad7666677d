#pragma once

#include <cstdint>
#include <vector>

#include "kernel.h"
#include "plane_layout.h"
#include "query_set.h"

namespace fasthash {

// Calls visit(bit) for the bits of a code at which the query is 1, or at which it is 0, ascending.
template <class Visit>
void each_chosen_bit(const uint64_t* query, int n_bits, bool complement, const Visit& visit) {
    for (int bit = 0; bit < n_bits; bit += 64) {
        uint64_t chosen = complement ? ~query[bit / 64] : query[bit / 64];
        if (n_bits - bit < 64) chosen &= (uint64_t{1} << (n_bits - bit)) - 1;
        for (; chosen != 0; chosen &= chosen - 1) visit(bit + __builtin_ctzll(chosen));
    }
}

// Queries as the filter on bit planes reads them.
class PlaneQueries {
public:
    PlaneQueries(const QueryWords& words, int64_t n_queries, const PlaneLayout& layout);
    PlaneQuery operator[](int64_t i) const;
    PlaneQuery every() const;  // of every plane

private:
    struct Chosen {
        size_t first;  // in planes_
        int n_blocks, n_small_blocks, n_planes;
        bool complement;
    };
    void add(const uint64_t* query, bool complement);
    PlaneQuery query(const uint64_t* words, const Chosen& chosen) const;

    const QueryWords& words_;
    const PlaneLayout layout_;
    std::vector<uint16_t> planes_;
    std::vector<Chosen> chosen_;  // by each query, then every plane
};

}  // namespace fasthash
