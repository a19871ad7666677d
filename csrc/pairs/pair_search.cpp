#include "pair_search.h"

#include <algorithm>

#include "../hamming/search.h"
#include "../thread_pool.h"
#include "copies.h"

namespace fasthash {

namespace {

constexpr int64_t kPlaces = 4096;          // of found pairs, before they are moved to where those of all threads are
constexpr int64_t kComparisons = 1 << 20;  // between two reports of progress
constexpr int64_t kLeastScanRows = 64;     // for fewer, the scan makes no bit planes
constexpr int64_t kMostScanRows = 1 << 14;
constexpr int64_t kScanHits = int64_t{1} << 24;  // that a scan may find at a time, as far as the last one tells

}  // namespace

// Pairs that are found in a block, emptied into those of all when it is full.
struct PairSearch::Sink : FoundPairs {
    PairSearch& search;
    const Buckets& buckets;

    Sink(PairSearch& of, Workplace& place) : FoundPairs{place.pairs.data(), 0, kPlaces, empty}, search(of), buckets(place.buckets) {}

    static void empty(FoundPairs& found) {
        Sink& self = static_cast<Sink&>(found);
        const int n_words = self.search.rows_.n_words();
        uint64_t differing[kMostWords];
        int64_t n = 0;
        for (int64_t i = 0; i < self.size; ++i) {
            const uint64_t row = self.pairs[i] >> 32, other = self.pairs[i] & UINT32_MAX;
            for (int w = 0; w < n_words; ++w) {
                const uint64_t* const plane = self.buckets.words() + w * self.buckets.stride();
                differing[w] = plane[row] ^ plane[other];
            }
            if (!first_met(*self.search.scheme_, *self.search.key_, differing)) continue;
            self.pairs[n++] = uint64_t{self.buckets.id(static_cast<int64_t>(row))} << 32 | self.buckets.id(static_cast<int64_t>(other));
        }
        self.search.keep(self.pairs, n);
        self.size = 0;
    }
};

PairSearch::PairSearch(CodeRows rows, int64_t radius, int64_t first, const PairOptions& options, const Poll& interrupted)
    : rows_(std::move(rows)), radius_(radius), options_(options), first_(first) {
    if (!rows_.two_sets) separate_copies(interrupted);
    scheme_ = choose_scheme(rows_, radius, options.n_parts, options.kernel, options.scan);
    if (!scheme_ && rows_.taking_part) {
        const int64_t n = rows_.before(rows_.n_codes);
        beside_.reserve(static_cast<size_t>(n * rows_.n_bytes));
        for (int64_t i = 0; i < n; ++i) beside_.insert(beside_.end(), rows_.code(rows_.id(i)), rows_.code(rows_.id(i)) + rows_.n_bytes);
    }
    begin_pass();
}

void PairSearch::separate_copies(const Poll& interrupted) {
    originals_ = find_originals(rows_, blocks_, options_.threads, interrupted);
    if (originals_.empty()) return;
    std::vector<uint32_t> different;
    for (int64_t i = 0; i < rows_.size(); ++i) {
        const uint32_t id = static_cast<uint32_t>(rows_.id(i));
        if (originals_[id] == id) different.push_back(id);
    }
    rows_.taking_part = std::move(different);
}

void PairSearch::begin_pass() {
    pairs_.clear();
    end_ = rows_.n_codes;
    if (scheme_) key_.emplace(*scheme_);
    tables_done_ = 0;
    scanned_ = rows_.before(first_);
    scan_rows_ = kLeastScanRows;
    for (size_t id = static_cast<size_t>(std::max(first_, rows_.since)); id < originals_.size(); ++id) {
        if (originals_[id] == id || originals_[id] < first_) continue;
        const uint64_t pair = uint64_t{originals_[id]} << 32 | id;
        keep(&pair, 1);
    }
}

bool PairSearch::step(const Poll& interrupted) {
    if (first_ >= end_) return true;
    if (!scheme_) {
        scan_rows(interrupted);
        return scanned_ >= rows_.before(end_);
    }
    if (radius_ > 0 || rows_.two_sets) search_table(interrupted);
    ++tables_done_;
    return radius_ == 0 && !rows_.two_sets ? true : !key_->next(scheme_->n_parts());
}

double PairSearch::share_done() const {
    if (first_ >= end_) return 1;
    if (scheme_) return tables_done_ / scheme_->n_tables();
    const double begin = static_cast<double>(rows_.before(first_)), end = static_cast<double>(rows_.before(end_));
    return end > begin ? std::min(1.0, (static_cast<double>(scanned_) - begin) / (end - begin)) : 1;
}

void PairSearch::search_table(const Poll& interrupted) {
    const KeyHash hash(*scheme_, *key_);
    blocks_.fill(rows_, first_, hash, options_.threads, interrupted);
    parallel_for(blocks_.n_blocks(), options_.threads, interrupted, [&](Job& job, int64_t block) {
        Workplaces<Workplace>::Lent lent(workplaces_);
        join(block, hash, *lent, job);
    });
}

void PairSearch::join(int64_t block, const KeyHash& hash, Workplace& place, Job& job) {
    place.buckets.fill(blocks_, block, hash);
    place.pairs.resize(kPlaces);
    find_runs(place);
    const Buckets& buckets = place.buckets;
    const RowRuns runs{buckets.words(),     buckets.stride(),  rows_.n_words(),
                       place.begins.data(), place.ends.data(), static_cast<uint64_t>(radius_)};
    Sink found(*this, place);
    int64_t comparisons = 0, from = 0;
    for (int64_t row = 0; row < buckets.n_rows(); ++row) {
        comparisons += place.ends[static_cast<size_t>(row)] - place.begins[static_cast<size_t>(row)] + 8;
        if (comparisons < kComparisons && row + 1 < buckets.n_rows()) continue;
        options_.kernel.compare(runs, from, row + 1, found);
        job.checkpoint(comparisons * rows_.n_words() / 2);
        from = row + 1;
        comparisons = 0;
    }
    Sink::empty(found);
}

// With which others of its bucket each row is compared: those behind it from `since` on, or where there are two sets those of the second.
void PairSearch::find_runs(Workplace& place) const {
    const Buckets& buckets = place.buckets;
    const uint32_t end_of_ids = static_cast<uint32_t>(std::min<int64_t>(end_.load(std::memory_order_relaxed), UINT32_MAX));
    place.begins.assign(static_cast<size_t>(buckets.n_rows()), 0);
    place.ends.assign(static_cast<size_t>(buckets.n_rows()), 0);
    const int64_t first_other = rows_.two_sets ? rows_.n_codes : rows_.since;
    buckets.each([&](int64_t begin, int64_t end) {
        int64_t others = begin;
        while (others < end && buckets.id(others) < first_other) ++others;
        for (int64_t row = begin; row < end && buckets.id(row) < end_of_ids; ++row) {
            place.begins[static_cast<size_t>(row)] = static_cast<uint32_t>(std::max(others, row + 1));
            place.ends[static_cast<size_t>(row)] = static_cast<uint32_t>(end);
        }
    });
}

void PairSearch::scan_rows(const Poll& interrupted) {
    const int64_t n_bytes = rows_.n_bytes, begin = scanned_, n = std::min(scan_rows_, rows_.before(end_) - begin);
    const uint8_t* const codes = rows_.taking_part ? beside_.data() : rows_.codes;
    const int64_t behind = rows_.two_sets ? 0 : std::max(begin, rows_.before(rows_.since));  // the first code that rows are compared with
    const CodeSet set{(rows_.two_sets ? rows_.others : codes) + behind * n_bytes, rows_.two_sets ? rows_.n_others : rows_.size() - behind,
                      rows_.n_bytes, nullptr};
    HitGroups groups = search_radius(set, {codes + begin * n_bytes, n}, radius_, {options_.scan, options_.threads, interrupted});
    std::vector<uint64_t> pairs;
    int64_t found = 0;
    for (FoundHits& hits : groups) {
        for (HitRuns& runs : hits.parts) {
            runs.drain([&](int64_t query, const uint64_t* items, int64_t n_items) {
                const int64_t row = begin + hits.queries[static_cast<size_t>(query)];
                for (int64_t i = 0; i < n_items; ++i) {
                    const int64_t other = behind + item_rank(items[i]);
                    if (rows_.two_sets)
                        pairs.push_back(static_cast<uint64_t>(rows_.id(row)) << 32 | static_cast<uint64_t>(rows_.n_codes + other));
                    if (!rows_.two_sets && other > row) {
                        pairs.push_back(static_cast<uint64_t>(rows_.id(row)) << 32 | static_cast<uint64_t>(rows_.id(other)));
                    }
                }
                found += n_items;
                keep(pairs.data(), static_cast<int64_t>(pairs.size()));
                pairs.clear();
            });
        }
    }
    scanned_ = begin + n;
    scan_rows_ = std::clamp(n * kScanHits / std::max<int64_t>(found, 1), kLeastScanRows, std::min(2 * n, kMostScanRows));
}

void PairSearch::keep(const uint64_t* pairs, int64_t n) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (int64_t i = 0; i < n; ++i) {
        if (static_cast<int64_t>(pairs[i] >> 32) < end_) pairs_.push_back(pairs[i]);
    }
    if (n_pairs() > options_.capacity) cut();
}

// Leaves rows to the next pass, such that about half as many pairs stay as fit.
void PairSearch::cut() {
    if (end_ == first_ + 1) return;
    const auto middle = pairs_.begin() + options_.capacity / 2;
    std::nth_element(pairs_.begin(), middle, pairs_.end());
    end_ = std::max(static_cast<int64_t>(*middle >> 32), first_ + 1);
    pairs_.erase(std::remove_if(pairs_.begin(), pairs_.end(), [&](uint64_t pair) { return static_cast<int64_t>(pair >> 32) >= end_; }),
                 pairs_.end());
}

}  // namespace fasthash
