#include "prober.h"

#include <algorithm>

namespace fasthash {

Prober::Prober(const Tables& tables, const CodeSet& set, const MultiSearchOptions& options, double scan_cost, int64_t n_queries)
    : tables_(tables),
      mask_(set.mask),
      kernel_(options.kernel),
      max_candidates_(options.max_candidates),
      budget_(tables, ProbeCost(tables, options.kernel), scan_cost, n_queries),
      keys_(static_cast<size_t>(tables.size())),
      entries_(new uint32_t[kEntries + kSelectSlack]),
      items_(new uint64_t[kEntries]) {
    probe_.codes = set.codes;
    probe_.n_bytes = set.n_bytes;
    probe_.substrings = tables.substrings();
    probe_.keys = keys_.data();
    probe_.n_tables = tables.size();
}

Outcome Prober::search(const uint8_t* query, FoundCodes& found, Job& job) {
    begin_query(query);
    Outcome outcome = Outcome::complete;
    for (int64_t step = 0; step < tables_.n_steps() && outcome == Outcome::complete; ++step) {
        if (found.limit() < static_cast<uint64_t>(step)) break;
        outcome = take_step(step, found, job);
    }
    budget_.end_query(outcome == Outcome::too_dear);
    return outcome;
}

void Prober::begin_query(const uint8_t* query) {
    budget_.begin_query();
    left_ = max_candidates_;
    probe_.query = query;
    for (int64_t t = 0; t < tables_.size(); ++t) keys_[static_cast<size_t>(t)] = tables_.key(query, t);
}

Outcome Prober::take_step(int64_t step, FoundCodes& found, Job& job) {
    if (!budget_.begin_step(found, step) && !bounded()) return Outcome::too_dear;
    const Table& table = begin_step(step);
    BitFlips flips(table.width, probe_.radius);
    while (!flips.done()) {
        if (bounded() && left_ == 0) return Outcome::cut_short;
        const int64_t n_probes = look_up(table, flips);
        const bool trimmed = bounded() && trim();
        const double cost = budget_.spend(n_probes, n_candidates_);
        if (budget_.overdrawn() && !bounded()) return Outcome::too_dear;
        verify(found);
        if (trimmed) return Outcome::cut_short;
        job.checkpoint(static_cast<int64_t>(cost));
    }
    return Outcome::complete;
}

const Table& Prober::begin_step(int64_t step) {
    probe_.table = step % tables_.size();
    probe_.radius = static_cast<uint64_t>(step / tables_.size());
    const Table& table = tables_[probe_.table];
    probe_.ids = table.ids.get();
    probe_.words = table.words.get();
    probe_.query_word = tables_.word(probe_.query, table.word_byte);
    return table;
}

// Finds the buckets of the next keys and returns how many keys those were.
int64_t Prober::look_up(const Table& table, BitFlips& flips) {
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
bool Prober::trim() {
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

// Compares the query with the entries of the buckets, up to kEntries at once.
void Prober::verify(FoundCodes& found) {
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

void Prober::verify(const Bucket* buckets, int64_t n_buckets, FoundCodes& found) {
    probe_.limit = found.limit();
    const int64_t n_selected = kernel_.select(probe_, buckets, n_buckets, entries_.get());
    const int64_t n_items = kernel_.verify(probe_, entries_.get(), n_selected, items_.get());
    for (int64_t i = 0; i < n_items; ++i) {
        if (!mask_ || mask_->eligible(item_rank(items_[i]))) found.add(items_[i]);
    }
}

}  // namespace fasthash
