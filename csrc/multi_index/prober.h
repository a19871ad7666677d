#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../hamming/code_set.h"
#include "../thread_pool.h"
#include "bit_flips.h"
#include "found_codes.h"
#include "kernel.h"
#include "probe_budget.h"
#include "search.h"
#include "tables.h"

namespace fasthash {

enum class Outcome { complete, cut_short, too_dear };

// Searches the tables for one query after the other.
class Prober {
public:
    // For n_queries queries, a scan for each of which would cost scan_cost.
    Prober(const Tables& tables, const CodeSet& set, const MultiSearchOptions& options, double scan_cost, int64_t n_queries);

    // Whether there is any use in trying, and whether there is none any more.
    bool affords(const FoundCodes& nothing) const { return bounded() || budget_.affords(nothing); }
    bool exhausted() const { return !bounded() && budget_.exhausted(); }

    // Adds what it finds to `found`, which holds no code of the tables yet.
    Outcome search(const uint8_t* query, FoundCodes& found, Job& job);

private:
    static constexpr int64_t kProbes = 256;    // whose memory is asked for before the first of them is read
    static constexpr int64_t kEntries = 2048;  // verified at once

    bool bounded() const { return max_candidates_ > 0; }  // and then neither exact nor ever too dear
    void begin_query(const uint8_t* query);
    Outcome take_step(int64_t step, FoundCodes& found, Job& job);
    const Table& begin_step(int64_t step);
    int64_t look_up(const Table& table, BitFlips& flips);
    bool trim();
    void verify(FoundCodes& found);
    void verify(const Bucket* buckets, int64_t n_buckets, FoundCodes& found);

    const Tables& tables_;
    const Mask* const mask_;
    const MultiIndexKernel kernel_;
    const int64_t max_candidates_;
    ProbeBudget budget_;
    std::vector<uint32_t> keys_;  // of the query, in every table
    const std::unique_ptr<uint32_t[]> entries_;
    const std::unique_ptr<uint64_t[]> items_;
    uint32_t flips_[kProbes];
    Bucket buckets_[kProbes];
    Probe probe_{};
    int64_t n_buckets_ = 0, n_candidates_ = 0;
    int64_t left_ = 0;  // of max_candidates_
};

}  // namespace fasthash
