#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "../hamming/kernel.h"
#include "buckets.h"
#include "code_rows.h"
#include "kernel.h"
#include "parts.h"
#include "plan.h"

namespace fasthash {

struct PairOptions {
    PairsKernel kernel;
    HammingKernel scan;
    int threads;
    int n_parts;       // into which codes are cut, kCheapest or kScan
    int64_t capacity;  // pairs of a pass at most, where that is more than a row has
};

// The pairs of codes within a radius, in passes, each of which has all pairs of some rows of the first set. It serves one thread at a time.
//
// Within one set, a code that equals an earlier one, a copy, is paired with the first of its equals, and takes part in no other pair.
class PairSearch {
public:
    using Poll = std::function<bool()>;

    // The codes stay the caller's. Pairs are sought of ids of the first set from `first` on.
    PairSearch(CodeRows rows, int64_t radius, int64_t first, const PairOptions& options, const Poll& interrupted);

    // Does a part of the pass, and returns whether that was the last. When interrupted, the search is of no more use.
    bool step(const Poll& interrupted);

    int64_t first() const { return first_; }                    // row of the pass
    int64_t end() const { return static_cast<int64_t>(end_); }  // of its rows: less than the set's where more pairs were found than fit
    double share_done() const;                                  // of the pass
    int n_parts() const { return scheme_ ? scheme_->n_parts() : kScan; }

    int64_t n_pairs() const { return static_cast<int64_t>(pairs_.size()); }
    // After the last step: writes the pass's pairs, sorted by (i, j), i before j where there is one set, and begins the next.
    void take(int64_t* i, int64_t* j, int32_t* distances, const Poll& interrupted);

private:
    struct Workplace {
        Buckets buckets;
        std::vector<uint32_t> begins, ends;
        std::vector<uint64_t> pairs;
    };
    struct Sink;

    void separate_copies(const Poll& interrupted);
    void begin_pass();
    void search_table(const Poll& interrupted);
    void join(int64_t block, const KeyHash& hash, Workplace& place, Job& job);
    void find_runs(Workplace& place) const;
    void scan_rows(const Poll& interrupted);
    void keep(const uint64_t* pairs, int64_t n);
    void cut();

    CodeRows rows_;
    const int64_t radius_;
    const PairOptions options_;
    std::vector<uint32_t> originals_;
    std::optional<Scheme> scheme_;
    std::vector<uint8_t> beside_;  // those of the first set that take part, side by side, for the scan where not all do

    int64_t first_;
    std::atomic<int64_t> end_{0};
    std::optional<TableKey> key_;  // of the next table
    double tables_done_ = 0;
    int64_t scanned_ = 0, scan_rows_ = 0;  // the next of those that take part, and how many at a time

    std::mutex mutex_;             // of the next
    std::vector<uint64_t> pairs_;  // i in the upper half, j in the lower
    RowBlocks blocks_;             // of the latest table
    Workplaces<Workplace> workplaces_;
};

}  // namespace fasthash
