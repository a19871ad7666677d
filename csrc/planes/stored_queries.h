#pragma once

#include <cstdint>
#include <vector>

#include "../hamming/query_set.h"
#include "kernel.h"

namespace fasthash {

// Queries as the filter of stored planes reads them.
class StoredQueries {
public:
    StoredQueries(const QueryWords& words, int64_t n_queries, int n_bits);
    static StoredQueries every(int n_bits);  // one query, of every plane

    // Makes the queries those of a block: the planes of zeros that lists are filled up with are elsewhere.
    void enter(const uint64_t* block);
    StoredQuery operator[](int64_t i) const;

    // The planes of a block that some query reads, ascending, in words from the block.
    const std::vector<int64_t>& planes_read() const { return planes_read_; }

private:
    struct Chosen {
        size_t first;  // in planes_
        PlaneBlocks blocks;
        int n_planes;
        bool complement;
    };
    explicit StoredQueries(int n_bits);
    void add(const uint64_t* query, bool complement);

    const PlaneLayout layout_;
    std::vector<int64_t> planes_;
    std::vector<Chosen> chosen_;
    std::vector<int64_t> planes_read_;
};

}  // namespace fasthash
