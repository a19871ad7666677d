#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../hamming/search.h"
#include "../hamming/search_plan.h"
#include "../planes/stored_codes.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "kernel.h"
#include "weighted_queries.h"

namespace fasthash {

// Stored codes that are compared by weighted distances.
struct WeightedStoredSet : StoredCodes {
    AsymmetricKernel weighted;
    int64_t largest_total;  // of a query's magnitudes

    WeightedStoredSet(const StoredCodes& codes, const AsymmetricKernel& of_weights, int64_t total)
        : StoredCodes(codes), weighted(of_weights), largest_total(total) {}

    int query_bytes() const { return static_cast<int>(n_bits()); }  // a weight for each bit
    int64_t max_distance() const { return largest_total; }
};

// A share's queries, ready to be compared with stored codes.
class WeightedStoredScan {
public:
    using Set = WeightedStoredSet;
    static constexpr int64_t kUnit = kBlockCodes / 3;  // of codes, at whose multiples a scan can begin
    static constexpr int64_t kSpare = 16;              // of a candidate list: the nearer the limit, the fewer planes are read

    WeightedStoredScan(const WeightedStoredSet& set, const QuerySet& queries, const SearchShare& share, const SearchOptions&)
        : set_(set),
          n_bits_(static_cast<int>(set.n_bits())),
          n_queries_(share.n_queries()),
          queries_(queries, n_bits_, share.first_query, share.last_query, kPlaneLines * kLineWords),
          rows_(static_cast<size_t>(kLineCodes * set.n_bytes)),
          code_(static_cast<size_t>(set.n_words())) {}

    // Scans codes [first, last), with list(i) the CandidateList of the share's query i.
    template <class List>
    void scan(int64_t first, int64_t last, Job& job, const List& list) {
        const int64_t to_next_block = block_words(n_bits_) - kPlaneLines * kLineWords;
        int64_t entered = -1;
        for (int64_t line = first / kLineCodes, end = ceil_div(last, kLineCodes); line < end; ++line) {
            const int64_t block = line / kPlaneLines, place = line % kPlaneLines;
            if (block != entered) queries_.put_zeros(zeros_of(set_.block(entered = block)));
            const uint8_t* const mask = set_.block_mask(block);
            const int64_t ahead = kLineWords + (place + 1 < kPlaneLines ? 0 : to_next_block);
            for (int64_t i = 0; i < n_queries_; ++i) {
                if (list(i).limit == 0) continue;
                // The first query fetches what most of the others read, too.
                const StoredLine planes{set_.block(block) + place * kLineWords, mask ? mask + place * kLineCodes / 8 : nullptr,
                                        i == 0 ? ahead : 0};
                uint64_t marks[kLineWords];
                const bool marked = set_.weighted.mark(planes, queries_[i], list(i).limit, marks);
                queries_.filtered(i, 1, marked ? take(block, place, marks, i, list(i)) : 0);
            }
            job.checkpoint(n_queries_ * kLineCodes * set_.n_words() / 8 + 1);
        }
    }

private:
    static constexpr int64_t kMany = 12;  // so many codes are transposed together

    static int64_t zeros_of(const uint64_t* block);

    // Takes the marked codes of a line, in order, that are below the limit of that moment, and returns how many were marked.
    int64_t take(int64_t block, int64_t line, const uint64_t* marks, int64_t query, CandidateList& list);

    const WeightedStoredSet& set_;
    const int n_bits_;
    const int64_t n_queries_;
    WeightedQueries<int64_t> queries_;
    std::vector<uint8_t> rows_;   // the codes of a line
    std::vector<uint64_t> code_;  // one of them
};

}  // namespace fasthash
