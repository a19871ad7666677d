#include "search.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "../hamming/topk.h"
#include "../thread_pool.h"
#include "cost.h"

namespace fasthash {

namespace {

constexpr int64_t kProbes = 256;    // whose memory is asked for before the first of them is read
constexpr int64_t kEntries = 2048;  // verified at once
constexpr int64_t kMaxQueriesPerTask = 32;

// Of the cost of scans, what may be spent in vain, and what the rest of a search may cost by the estimate.
constexpr double kTrial = 0.025;
constexpr double kWorthwhile = 0.8;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The codes found for a query: the k nearest of them, or all within a radius.
class Found {
public:
    Found(int64_t k, uint64_t limit) : k_(k), limit_(limit), bounded_(k == INT64_MAX), counts_(static_cast<size_t>(limit) + 1) {}

    uint64_t limit() const { return limit_; }    // farther codes are not wanted
    bool bounded() const { return bounded_; }    // whether all wanted codes are known to be within the limit
    bool all() const { return k_ == INT64_MAX; }

    // Whether the k nearest hardly lie within `distance`: of k codes there, more would have been found before the step, by the share of the
    // codes at that distance that is. Random numbers are allowed for: four, and two standard deviations.
    bool beyond(const Tables& tables, int64_t step, int64_t distance) const {
        distance = std::min(distance, static_cast<int64_t>(limit_));
        double within = 0;
        for (int64_t d = 0; d <= distance; ++d) within += static_cast<double>(counts_[static_cast<size_t>(d)]);
        return within + 2 * std::sqrt(within) + 4 < static_cast<double>(k_) * tables.share_found(step, distance);
    }

    void add(uint64_t item) {
        const uint64_t distance = item_distance(item);
        if (distance > limit_) return;
        items_.push_back(item);
        ++counts_[distance];
        if (++n_within_ < k_) return;
        bounded_ = true;
        while (n_within_ - counts_[limit_] >= k_) n_within_ -= counts_[limit_--];
        if (static_cast<int64_t>(items_.size()) >= 2 * std::max(k_, kEntries)) cut();
    }

    // The items in ascending order of (distance, rank).
    std::vector<uint64_t>& sorted() {
        if (!all() && static_cast<int64_t>(items_.size()) > k_) cut();
        std::sort(items_.begin(), items_.end());
        return items_;
    }

private:
    void cut() {
        std::nth_element(items_.begin(), items_.begin() + (k_ - 1), items_.end());
        items_.resize(static_cast<size_t>(k_));
    }

    const int64_t k_;
    uint64_t limit_;
    bool bounded_;
    int64_t n_within_ = 0;
    std::vector<int64_t> counts_;
    std::vector<uint64_t> items_;
};

// The numbers of `width` bits of which `radius` are set, in ascending order.
class Flips {
public:
    Flips(int width, uint64_t radius) : next_((uint64_t{1} << radius) - 1), end_(uint64_t{1} << width) {}

    bool done() const { return next_ >= end_; }
    int64_t fill(uint32_t* flips, int64_t capacity) {
        int64_t n = 0;
        uint64_t flip = next_;
        while (n < capacity && flip < end_) {
            flips[n++] = static_cast<uint32_t>(flip);
            if (flip == 0) flip = end_;
            const uint64_t carried = flip + (flip & (~flip + 1));
            flip = (carried ^ flip) >> 2 >> __builtin_ctzll(flip) | carried;
        }
        next_ = flip;
        return n;
    }

private:
    uint64_t next_;
    const uint64_t end_;
};

enum class Outcome { complete, cut_short, too_dear };

// Searches the tables for one query after the other.
class Prober {
public:
    // For `n_queries` queries, a scan for each of which would cost scan_cost.
    Prober(const Tables& tables, const CodeSet& set, const MultiSearchOptions& options, double scan_cost, int64_t n_queries)
        : tables_(tables),
          mask_(set.mask),
          kernel_(options.kernel),
          cost_(tables, options.isa),
          max_candidates_(options.max_candidates),
          scan_cost_(scan_cost),
          credit_(kTrial * scan_cost * static_cast<double>(n_queries)),
          spent_(cost_.query),
          keys_(static_cast<size_t>(tables.size())),
          entries_(new uint32_t[kEntries + kSelectSlack]),
          items_(new uint64_t[kEntries]) {
        probe_.codes = set.codes;
        probe_.n_bytes = set.n_bytes;
        probe_.substrings = tables.substrings();
        probe_.keys = keys_.data();
        probe_.n_tables = tables.size();
    }

    // Whether there is any use in trying.
    bool affordable(const Found& found) const { return bounded() || allowance(found, 0, uniform_density()) > 0; }
    bool out_of_credit() const { return !bounded() && credit_ < cost_.query + cost_of_step(0, uniform_density()); }

    Outcome search(const uint8_t* query, Found& found, Job& job) {
        spent_ = cost_.query;
        const Outcome outcome = probe_tables(query, found, job);
        credit_ += outcome == Outcome::too_dear ? -spent_ : scan_cost_ - spent_;
        return outcome;
    }

private:
    Outcome probe_tables(const uint8_t* query, Found& found, Job& job) {
        probe_.query = query;
        for (int64_t t = 0; t < tables_.size(); ++t) keys_[static_cast<size_t>(t)] = tables_.key(query, t);
        left_ = max_candidates_;
        double density = uniform_density();
        int64_t probes = 0, candidates = 0;
        for (int64_t step = 0; step < tables_.n_steps(); ++step) {
            if (found.limit() < static_cast<uint64_t>(step)) return Outcome::complete;
            if (step % tables_.size() == 0 && step > 0) {
                density = static_cast<double>(candidates) / static_cast<double>(probes);
                probes = candidates = 0;
            }
            const double most = allowance(found, step, density);
            if (!bounded() && most == 0) return Outcome::too_dear;
            probe_.table = step % tables_.size();
            probe_.radius = static_cast<uint64_t>(step / tables_.size());
            const Table& table = tables_[probe_.table];
            probe_.ids = table.ids.get();
            probe_.words = table.words.get();
            probe_.query_word = tables_.word(query, table.word_byte);
            spent_ += cost_.step;
            Flips flips(table.width, probe_.radius);
            while (!flips.done()) {
                if (bounded() && left_ == 0) return Outcome::cut_short;
                const int64_t n = look_up(table, flips);
                const bool trimmed = bounded() && trim();
                probes += n;
                candidates += n_candidates_;
                const double cost = static_cast<double>(n) * cost_.probe + static_cast<double>(n_candidates_) * cost_.candidate;
                spent_ += cost;
                if (!bounded() && spent_ > most) return Outcome::too_dear;
                verify(found);
                if (trimmed) return Outcome::cut_short;
                job.checkpoint(static_cast<int64_t>(cost));
            }
        }
        return Outcome::complete;
    }

    bool bounded() const { return max_candidates_ > 0; }
    double uniform_density() const { return static_cast<double>(tables_.n_codes()) / static_cast<double>(int64_t{1} << tables_[0].width); }

    double cost_of_step(int64_t step, double density) const {
        return cost_.step + (tables_.probes_before(step + 1) - tables_.probes_before(step)) * (cost_.probe + density * cost_.candidate);
    }

    // What may be spent on the query by the end of a step; 0: a scan is the better choice.
    double allowance(const Found& found, int64_t step, double density) const {
        if (credit_ < 0) return 0;
        const int64_t reach = tables_.step_after(step, (kWorthwhile * scan_cost_ - spent_) / (cost_.probe + density * cost_.candidate)) - 1;
        if (found.bounded() && static_cast<int64_t>(found.limit()) <= reach) return scan_cost_;
        if (found.all() || reach < step || found.beyond(tables_, step, reach)) return 0;
        const double most = std::min(credit_, scan_cost_);
        return spent_ + cost_of_step(step, density) <= most ? most : 0;
    }

    // Finds the buckets of the next keys and returns how many keys those were.
    int64_t look_up(const Table& table, Flips& flips) {
        const int64_t n = flips.fill(flips_, bounded() ? std::min(kProbes, left_) : kProbes);
        const uint32_t key = keys_[static_cast<size_t>(probe_.table)];
        const uint32_t* const offsets = table.offsets.get();
        for (int64_t i = 0; i < n; ++i) {
            __builtin_prefetch(offsets + (key ^ flips_[i]));
            __builtin_prefetch(offsets + (key ^ flips_[i]) + 1);
        }
        n_buckets_ = n_candidates_ = 0;
        for (int64_t i = 0; i < n; ++i) {
            const Bucket bucket{offsets[key ^ flips_[i]], offsets[(key ^ flips_[i]) + 1]};
            buckets_[n_buckets_] = bucket;
            n_buckets_ += bucket.end > bucket.begin;
            n_candidates_ += bucket.end - bucket.begin;
            if (probe_.words) {
                __builtin_prefetch(probe_.words + bucket.begin);
                __builtin_prefetch(probe_.words + bucket.end - 1);
            } else {
                __builtin_prefetch(probe_.ids + bucket.begin);
            }
        }
        left_ -= n;
        return n;
    }

    // Leaves of the buckets what may still be compared, and returns whether that is less than all.
    bool trim() {
        for (int64_t i = 0; i < n_buckets_; ++i) {
            Bucket& bucket = buckets_[i];
            if (bucket.end - bucket.begin > left_) {
                bucket.end = bucket.begin + static_cast<uint32_t>(left_);
                n_buckets_ = i + 1;
                left_ = 0;
                return true;
            }
            left_ -= bucket.end - bucket.begin;
        }
        return false;
    }

    // Compares the query with the entries of the buckets.
    void verify(Found& found) {
        for (int64_t first = 0; first < n_buckets_;) {
            int64_t last = first, n_entries = 0;
            for (; last < n_buckets_; ++last) {
                const int64_t size = buckets_[last].end - buckets_[last].begin;
                if (n_entries + size > kEntries) break;
                n_entries += size;
            }
            if (last > first) {
                verify(buckets_ + first, last - first, found);
                first = last;
            } else {
                Bucket& bucket = buckets_[first++];
                for (; bucket.begin < bucket.end; bucket.begin += std::min<uint32_t>(kEntries, bucket.end - bucket.begin)) {
                    const Bucket part{bucket.begin, bucket.begin + std::min<uint32_t>(kEntries, bucket.end - bucket.begin)};
                    verify(&part, 1, found);
                }
            }
        }
    }

    void verify(const Bucket* buckets, int64_t n_buckets, Found& found) {
        probe_.limit = found.limit();
        const int64_t n_selected = kernel_.select(probe_, buckets, n_buckets, entries_.get());
        const int64_t n_items = kernel_.verify(probe_, entries_.get(), n_selected, items_.get());
        for (int64_t i = 0; i < n_items; ++i) {
            if (!mask_ || mask_->eligible(item_rank(items_[i]))) found.add(items_[i]);
        }
    }

    const Tables& tables_;
    const Mask* const mask_;
    const MultiIndexKernel kernel_;
    const ProbeCost cost_;
    const int64_t max_candidates_;
    const double scan_cost_;
    double credit_;  // what scans would have cost more than the searches so far, and what these may cost more in the end
    double spent_;   // on the query
    std::vector<uint32_t> keys_;
    const std::unique_ptr<uint32_t[]> entries_;
    const std::unique_ptr<uint64_t[]> items_;
    uint32_t flips_[kProbes];
    Bucket buckets_[kProbes];
    Probe probe_{};
    int64_t n_buckets_ = 0, n_candidates_ = 0;
    int64_t left_ = 0;
};

void write_sorted(const std::vector<uint64_t>& items, int64_t k, int32_t* distances, int64_t* ids) {
    const int64_t n_hits = static_cast<int64_t>(items.size());
    for (int64_t i = 0; i < n_hits; ++i) {
        distances[i] = static_cast<int32_t>(item_distance(items[static_cast<size_t>(i)]));
        ids[i] = item_rank(items[static_cast<size_t>(i)]);
    }
    std::fill(distances + n_hits, distances + k, kNoDistance);
    std::fill(ids + n_hits, ids + k, int64_t{-1});
}

// The codes that are not in the tables yet.
struct Rest {
    std::vector<uint8_t> mask_bits;
    std::unique_ptr<const Mask> mask;
    CodeSet set;

    Rest(const Tables& tables, const CodeSet& all)
        : set{all.codes + tables.n_codes() * all.n_bytes, all.n_codes - tables.n_codes(), all.n_bytes, nullptr} {
        if (!all.mask) return;
        mask_bits.assign(static_cast<size_t>(ceil_div(set.n_codes, 8)), 0);
        for (int64_t i = 0; i < set.n_codes; ++i) {
            const int bit = all.mask->eligible(tables.n_codes() + i) << i % 8;
            mask_bits[static_cast<size_t>(i / 8)] = static_cast<uint8_t>(mask_bits[static_cast<size_t>(i / 8)] | bit);
        }
        mask = std::make_unique<const Mask>(mask_bits.data(), set.n_codes);
        set.mask = mask.get();
    }
};

// What a scan costs for each of the queries, as the threads share them out.
double scan_cost_of_one(const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options) {
    return scan_cost(set, n_queries, options.scan.threads, options.isa) / static_cast<double>(ceil_div(n_queries, options.scan.threads));
}

// Calls search(prober, query, job), which returns an outcome, for every query, and returns those to scan. A scan for a few queries costs
// each of them more than a scan for many does, so that the tables may do for the few that are left.
template <class SearchOne>
std::vector<int64_t> search_tables(const Tables& tables, const CodeSet& set, const QuerySet& queries, const MultiSearchOptions& options,
                                   const SearchOne& search_one) {
    std::vector<int64_t> left(static_cast<size_t>(queries.n_queries));
    std::iota(left.begin(), left.end(), int64_t{0});
    for (size_t n_before = SIZE_MAX; !left.empty() && left.size() <= n_before / 2;) {
        n_before = left.size();
        const int64_t n = static_cast<int64_t>(n_before);
        const double scan_cost = scan_cost_of_one(set, n, options);
        std::vector<Outcome> outcomes(n_before, Outcome::too_dear);
        const int64_t per_task = std::clamp<int64_t>(n / (4 * options.scan.threads), 1, kMaxQueriesPerTask);
        parallel_for(ceil_div(n, per_task), options.scan.threads, [&](Job& job, int64_t task) {
            const int64_t first = task * per_task, last = std::min(first + per_task, n);
            Prober prober(tables, set, options, scan_cost, last - first);
            for (int64_t i = first; i < last && !prober.out_of_credit(); ++i) {
                outcomes[static_cast<size_t>(i)] = search_one(prober, left[static_cast<size_t>(i)], job);
            }
        }, options.scan.interrupted);
        size_t kept = 0;
        for (size_t i = 0; i < n_before; ++i) {
            if (outcomes[i] == Outcome::too_dear) left[kept++] = left[i];
        }
        left.resize(kept);
    }
    return left;
}

// Whether there is any use in trying the tables for a task's worth of queries.
bool worth_trying(const Tables& tables, const CodeSet& set, const QuerySet& queries, const MultiSearchOptions& options, const Found& nothing) {
    const int64_t n_together = std::min(queries.n_queries, kMaxQueriesPerTask);
    return n_together > 0 && Prober(tables, set, options, scan_cost_of_one(set, queries.n_queries, options), n_together).affordable(nothing);
}

// The hits of a scan with ids for ranks.
HitLists scan_radius(const CodeSet& set, const QuerySet& queries, int64_t radius, const SearchOptions& options) {
    HitLists hits = search_radius(set, queries, radius, options);
    if (!set.mask) return hits;
    for (std::vector<uint64_t>& list : hits) {
        for (uint64_t& item : list) item = item_distance(item) << kRankBits | static_cast<uint64_t>(set.id(item_rank(item)));
    }
    return hits;
}

}  // namespace

void search_topk(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t k, const MultiSearchOptions& options,
                 int32_t* distances, int64_t* ids, bool* complete) {
    const uint64_t farthest = static_cast<uint64_t>(set.n_bytes) * 8;
    const int64_t k_found = std::min(k, set.n_eligible());
    if (k_found == 0 || !worth_trying(tables, set, queries, options, Found(k_found, farthest))) {
        return search_topk(set, queries, k, options.scan, distances, ids);
    }
    const Rest rest(tables, set);
    const int64_t k_rest = std::min(k, rest.set.n_eligible());
    std::vector<int32_t> rest_distances(static_cast<size_t>(queries.n_queries * k_rest));
    std::vector<int64_t> rest_ids(rest_distances.size());
    if (k_rest > 0) search_topk(rest.set, queries, k_rest, options.scan, rest_distances.data(), rest_ids.data());

    const auto search_one = [&](Prober& prober, int64_t query, Job& job) {
        Found found(k_found, farthest);
        for (int64_t i = query * k_rest; i < (query + 1) * k_rest; ++i) {
            const auto at = static_cast<size_t>(i);
            found.add(static_cast<uint64_t>(rest_distances[at]) << kRankBits | static_cast<uint64_t>(tables.n_codes() + rest_ids[at]));
        }
        const Outcome outcome = prober.search(queries.codes + query * set.n_bytes, found, job);
        if (outcome == Outcome::cut_short) complete[query] = false;
        if (outcome != Outcome::too_dear) write_sorted(found.sorted(), k, distances + query * k, ids + query * k);
        return outcome;
    };
    const std::vector<int64_t> scanned = search_tables(tables, set, queries, options, search_one);
    if (scanned.empty()) return;
    const QuerySubset subset(queries, set.n_bytes, scanned);
    subset.search_topk([&](int32_t* found_distances, int64_t* found_ids) {
        search_topk(set, subset.set(), k, options.scan, found_distances, found_ids);
    }, k, distances, ids);
}

HitLists search_radius(const Tables& tables, const CodeSet& set, const QuerySet& queries, int64_t radius, const MultiSearchOptions& options) {
    const uint64_t limit = static_cast<uint64_t>(std::min<int64_t>(radius, set.n_bytes * 8));
    if (!worth_trying(tables, set, queries, options, Found(INT64_MAX, limit))) return scan_radius(set, queries, radius, options.scan);
    const Rest rest(tables, set);
    HitLists hits = search_radius(rest.set, queries, radius, options.scan);
    const auto search_one = [&](Prober& prober, int64_t query, Job& job) {
        Found found(INT64_MAX, limit);
        for (uint64_t item : hits[static_cast<size_t>(query)]) {
            found.add(item_distance(item) << kRankBits | static_cast<uint64_t>(tables.n_codes() + rest.set.id(item_rank(item))));
        }
        const Outcome outcome = prober.search(queries.codes + query * set.n_bytes, found, job);
        if (outcome != Outcome::too_dear) hits[static_cast<size_t>(query)].swap(found.sorted());
        return outcome;
    };
    const std::vector<int64_t> scanned = search_tables(tables, set, queries, options, search_one);
    if (scanned.empty()) return hits;
    const QuerySubset subset(queries, set.n_bytes, scanned);
    HitLists scan_hits = scan_radius(set, subset.set(), radius, options.scan);
    for (size_t i = 0; i < scanned.size(); ++i) hits[static_cast<size_t>(scanned[i])].swap(scan_hits[i]);
    return hits;
}

}  // namespace fasthash
