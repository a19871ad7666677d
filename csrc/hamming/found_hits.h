#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "../huge_array.h"

namespace fasthash {

// Hits in the order in which a task finds them, 8 bytes each, in chunks that are given back one by one as they are drained.
class HitRuns {
public:
    // Adds hits of one of the task's queries, as items with ids.
    void append(int64_t query, const uint64_t* items, int64_t n);

    // Calls visit(query, items, n) for every run of hits of one query.
    template <class Visit>
    void each(const Visit& visit) const {
        auto run = runs_.begin();
        for (const Chunk& chunk : chunks_) visit_chunk(chunk, run, visit);
    }
    // The same, and leaves nothing.
    template <class Visit>
    void drain(const Visit& visit) {
        auto run = runs_.cbegin();
        for (Chunk& chunk : chunks_) {
            visit_chunk(chunk, run, visit);
            release(chunk);
        }
        chunks_.clear();
        runs_.clear();
    }

private:
    struct Chunk {
        HugeArray<uint64_t> items;
        int64_t size, capacity;
    };
    // Of one chunk; as many as end with the chunk are its own.
    struct Run {
        int32_t query, size;
    };

    template <class Visit>
    static void visit_chunk(const Chunk& chunk, std::vector<Run>::const_iterator& run, const Visit& visit) {
        for (int64_t first = 0; first < chunk.size; first += (run++)->size) visit(run->query, chunk.items.get() + first, run->size);
    }
    static void release(Chunk& chunk);
    void add_chunk();

    std::vector<Chunk> chunks_;
    std::vector<Run> runs_;
};

// All hits of some queries. Those of a query at one distance have ascending ids, from part to part and from run to run.
struct FoundHits {
    std::vector<int64_t> queries;  // that the parts know by their places here
    std::vector<HitRuns> parts;
};

// Hits of queries [0, n_queries), each in at most one of the groups.
using HitGroups = std::deque<FoundHits>;

// Where each query's hits begin when all are written one after the other, and where they end: [n_queries + 1].
void write_offsets(const HitGroups& groups, int64_t n_queries, int64_t* offsets);

// Writes the hits, which are within max_distance, each query's sorted by (distance, id), and leaves none in the groups: what is given back
// and what is written for the first time balance.
void write_hits(HitGroups& groups, int64_t max_distance, const int64_t* offsets, int threads, const std::function<bool()>& interrupted,
                int32_t* distances, int64_t* ids);

// For each query its hits as items; among those at one distance the ids ascend.
using HitLists = std::vector<std::vector<uint64_t>>;

// The hits as lists, and leaves none in the groups.
HitLists hits_by_query(HitGroups& groups, int64_t n_queries);

}  // namespace fasthash
