#include "found_hits.h"

#include <algorithm>

#include "../thread_pool.h"
#include "item.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fasthash {

namespace {

constexpr int64_t kFirstChunk = 1 << 10, kLargestChunk = 1 << 18;  // in items; each has twice the places of the one before
constexpr int64_t kScattered = 1 << 22;                            // hits of a group from which on they are many huge pages
constexpr uintptr_t kPage = 1 << 16;                               // no system's small pages are larger

// Hits are written here and there. In huge pages nearly all of the result would be in memory before much of the chunks is given back.
void prefer_small_pages(int64_t* ids, int64_t n) {
#if defined(__linux__) && defined(MADV_NOHUGEPAGE)
    const uintptr_t begin = reinterpret_cast<uintptr_t>(ids) / kPage * kPage;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(ids + n) + kPage - 1) / kPage * kPage;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_NOHUGEPAGE);
#else
    static_cast<void>(ids), static_cast<void>(n);
#endif
}

// Adds to the counts of items at each distance.
void count(const uint64_t* items, int64_t n, int64_t n_distances, int64_t* counts, std::vector<int64_t>& spare) {
    int64_t i = 0;
    if (n >= 16 * n_distances) {
        // Distances cluster: separate counts for every fourth item keep one increment from waiting for the last.
        spare.assign(static_cast<size_t>(3 * n_distances), 0);
        int64_t* const others[] = {spare.data(), spare.data() + n_distances, spare.data() + 2 * n_distances};
        for (; i + 4 <= n; i += 4) {
            ++counts[item_distance(items[i])];
            for (int part = 0; part < 3; ++part) ++others[part][item_distance(items[i + 1 + part])];
        }
        for (int64_t d = 0; d < n_distances; ++d) counts[d] += others[0][d] + others[1][d] + others[2][d];
    }
    for (; i < n; ++i) ++counts[item_distance(items[i])];
}

void write_group(FoundHits& found, int64_t n_distances, const int64_t* offsets, Job& job, int32_t* distances, int64_t* ids) {
    const int64_t n_queries = static_cast<int64_t>(found.queries.size());
    std::vector<int64_t> places(static_cast<size_t>(n_queries * n_distances));  // where the next hit of a query and distance goes
    const auto of_query = [&](int64_t query) { return places.data() + query * n_distances; };
    std::vector<int64_t> spare;
    int64_t n_hits = 0;
    for (const HitRuns& part : found.parts) {
        part.each([&](int64_t query, const uint64_t* items, int64_t n) {
            count(items, n, n_distances, of_query(query), spare);
            n_hits += n;
            job.checkpoint(n);
        });
    }
    for (int64_t query = 0; query < n_queries; ++query) {
        int64_t* const counts = of_query(query);
        const int64_t begin = offsets[found.queries[static_cast<size_t>(query)]];
        int64_t place = begin;
        for (int64_t d = 0; d < n_distances; ++d) {
            const int64_t here = counts[d];
            std::fill_n(distances + place, here, static_cast<int32_t>(d));
            counts[d] = place;
            place += here;
        }
        if (n_hits > kScattered) prefer_small_pages(ids + begin, place - begin);
        job.checkpoint(n_distances);
    }
    for (HitRuns& part : found.parts) {
        part.drain([&](int64_t query, const uint64_t* items, int64_t n) {
            int64_t* const next = of_query(query);
            for (int64_t i = 0; i < n; ++i) ids[next[item_distance(items[i])]++] = item_rank(items[i]);
            job.checkpoint(n * 2);
        });
    }
}

}  // namespace

void HitRuns::append(int64_t query, const uint64_t* items, int64_t n) {
    while (n > 0) {
        if (chunks_.empty() || chunks_.back().size == chunks_.back().capacity) add_chunk();
        Chunk& chunk = chunks_.back();
        const int64_t fitting = std::min(n, chunk.capacity - chunk.size);
        std::copy_n(items, fitting, chunk.items.get() + chunk.size);
        if (chunk.size > 0 && runs_.back().query == query) {
            runs_.back().size += static_cast<int32_t>(fitting);
        } else {
            runs_.push_back({static_cast<int32_t>(query), static_cast<int32_t>(fitting)});
        }
        chunk.size += fitting;
        items += fitting;
        n -= fitting;
    }
}

void HitRuns::add_chunk() {
    const int64_t capacity = chunks_.empty() ? kFirstChunk : std::min(2 * chunks_.back().capacity, kLargestChunk);
    chunks_.push_back({HugeArray<uint64_t>(capacity), 0, capacity});
}

// Its pages go back to the system at once: the allocator would keep them for other chunks, and none come after.
void HitRuns::release(Chunk& chunk) {
#if defined(__linux__)
    const uintptr_t begin = reinterpret_cast<uintptr_t>(chunk.items.get()), end = begin + static_cast<uintptr_t>(chunk.capacity) * 8;
    const uintptr_t first = (begin + kPage - 1) / kPage * kPage, last = end / kPage * kPage;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
#endif
    chunk.items = {};
}

void write_offsets(const HitGroups& groups, int64_t n_queries, int64_t* offsets) {
    std::fill_n(offsets, n_queries + 1, int64_t{0});
    for (const FoundHits& found : groups) {
        for (const HitRuns& part : found.parts) {
            part.each([&](int64_t query, const uint64_t*, int64_t n) { offsets[found.queries[static_cast<size_t>(query)] + 1] += n; });
        }
    }
    for (int64_t query = 0; query < n_queries; ++query) offsets[query + 1] += offsets[query];
}

void write_hits(HitGroups& groups, int64_t max_distance, const int64_t* offsets, int threads, const std::function<bool()>& interrupted,
                int32_t* distances, int64_t* ids) {
    parallel_for(static_cast<int64_t>(groups.size()), threads, interrupted, [&](Job& job, int64_t group) {
        write_group(groups[static_cast<size_t>(group)], max_distance + 1, offsets, job, distances, ids);
    });
}

HitLists hits_by_query(HitGroups& groups, int64_t n_queries) {
    HitLists hits(static_cast<size_t>(n_queries));
    for (FoundHits& found : groups) {
        for (HitRuns& part : found.parts) {
            part.drain([&](int64_t query, const uint64_t* items, int64_t n) {
                std::vector<uint64_t>& list = hits[static_cast<size_t>(found.queries[static_cast<size_t>(query)])];
                list.insert(list.end(), items, items + n);
            });
        }
    }
    return hits;
}

}  // namespace fasthash
