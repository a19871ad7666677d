// Compiled without fused multiplications and additions, so that scores are the same on every machine.
#include "factored_search.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <vector>

#include "../aligned_array.h"
#include "../hamming/search_plan.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "kernel.h"
#include "weighted_queries.h"

namespace fasthash {

namespace {

constexpr int64_t kPlaneBytes = 2 * kTileBytes;       // of a tile
constexpr int64_t kMaxListBytes = int64_t{64} << 20;  // of a task's hits, unless one query's are more

template <class T>
struct Hit {
    T score;
    int64_t id;
};

template <class T>
bool better(const Hit<T>& a, const Hit<T>& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
}

// The k best hits of a query. Ids come in ascending order, so a later one loses a tie.
template <class T>
class BestHits {
public:
    explicit BestHits(int64_t k) : k_(static_cast<size_t>(k)) {}

    bool enters(T score) const { return !full_ || score > last_; }

    void add(T score, int64_t id) {
        if (score != score) score = -std::numeric_limits<T>::infinity();  // infinity times 0
        if (!enters(score)) return;
        hits_.push_back({score, id});
        if (hits_.size() >= 2 * k_ + 16) keep_best();
    }

    // Returns the hits, at most k.
    std::vector<Hit<T>>& keep_best() {
        if (hits_.size() < k_) return hits_;
        const auto kth = hits_.begin() + static_cast<int64_t>(k_) - 1;
        std::nth_element(hits_.begin(), kth, hits_.end(), better<T>);
        hits_.resize(k_);
        last_ = hits_.back().score;
        full_ = true;
        return hits_;
    }

private:
    const size_t k_;
    std::vector<Hit<T>> hits_;
    T last_ = 0;
    bool full_ = false;
};

// The score of a code by its weighted distance. Every step rounds a monotonic function, so bounds of what goes in give bounds of what comes out.
template <class T>
T score_of(int64_t total, int64_t distance, T scale, T factor, T offset) {
    return static_cast<T>(total - 2 * distance) * scale * factor + offset;
}

// The factors and offsets of a tile's codes lie between these.
template <class T>
struct Bounds {
    T least_factor = 1, largest_factor = 1, largest_offset = 0;

    Bounds(const CodeFactors& of, int64_t first, int64_t last) {
        if (of.factors) {
            least_factor = -largest(of.factors + first, last - first, -1);
            largest_factor = largest(of.factors + first, last - first, 1);
        }
        if (of.offsets) largest_offset = largest(of.offsets + first, last - first, 1);
    }

    // The largest of finite numbers times a sign, by several chains of comparisons: one would wait for each of them.
    static float largest(const float* numbers, int64_t n, float sign) {
        constexpr int64_t kChains = 16;
        float most[kChains];
        std::fill_n(most, kChains, -std::numeric_limits<float>::infinity());
        for (; n >= kChains; n -= kChains, numbers += kChains) {
            for (int64_t i = 0; i < kChains; ++i) most[i] = most[i] < sign * numbers[i] ? sign * numbers[i] : most[i];
        }
        for (int64_t i = 0; i < n; ++i) most[0] = std::max(most[0], sign * numbers[i]);
        return *std::max_element(most, most + kChains);
    }

    // The least distance from which on no code can have a score that enters; total + 1 if there is none.
    int64_t limit(int64_t total, T scale, const BestHits<T>& best) const {
        if (least_factor < 0) return total + 1;  // then scores may rise with the distance
        int64_t low = 0, high = total + 1;
        while (low < high) {
            const int64_t distance = low + (high - low) / 2;
            const T factor = total < 2 * distance ? least_factor : largest_factor;
            if (const T most = score_of(total, distance, scale, factor, largest_offset); most != most || best.enters(most)) {
                low = distance + 1;
            } else {
                high = distance;
            }
        }
        return low;
    }
};

// A search of the codes [first_code, last_code) for the share's queries.
template <class T>
class FactoredScan {
public:
    FactoredScan(const CodeSet& set, const AsymmetricKernel& kernel, const QuantizedQueries<T>& queries, const CodeFactors& factors,
                 int64_t k, const SearchShare& share)
        : set_(set),
          kernel_(kernel),
          queries_(queries),
          factors_(factors),
          share_(share),
          n_bits_(static_cast<int>(set.n_bits())),
          filters_(queries.set(), n_bits_, share.first_query, share.last_query, kernel.group / 64),
          best_(static_cast<size_t>(share.n_queries()), BestHits<T>(k)) {}

    void run(Job& job) {
        const bool in_rows = set_.n_words() == 1 || filters_.n_columns() <= kernel_.row_columns(set_.n_words());
        TileReader reader(set_, share_.first_code, share_.last_code, in_rows ? kPlaneBytes : 0, kPlaneBytes, kernel_.group);
        AlignedArray<uint64_t> planes(ceil_div(reader.most_codes(), kernel_.group) * (n_bits_ + 1) * kernel_.group / 64);
        int64_t most_codes = kernel_.group;
        for (CodeTile tile; reader.next(tile, most_codes);) {
            most_codes = std::min(2 * most_codes, reader.most_codes());
            if (tile.code_stride == 1) kernel_.make(tile, n_bits_, planes.get());
            const Bounds<T> bounds(factors_, id(tile.base), id(tile.base + tile.count - 1) + 1);
            for (int64_t i = 0; i < share_.n_queries(); ++i) {
                reader.prefetch(most_codes, i, share_.n_queries());
                filter(tile, planes.get(), bounds, i);
            }
            job.checkpoint(share_.n_queries() * tile.count * set_.n_words() / 2 + 1);
        }
    }

    BestHits<T>& best(int64_t i) { return best_[static_cast<size_t>(i)]; }

private:
    static constexpr int64_t kPassed = 128;  // codes whose scores are computed together

    // The codes that passed the filter, until their scores are computed.
    struct Passed : CandidateList {
        FactoredScan* scan;
        const Bounds<T>* bounds;
        int64_t query;
        std::array<uint64_t, kPassed> room;
    };

    int64_t id(int64_t rank) const { return set_.mask ? set_.mask->id(rank) : rank; }

    void filter(const CodeTile& tile, const uint64_t* planes, const Bounds<T>& bounds, int64_t i) {
        Passed passed;
        passed.items = passed.room.data();
        passed.size = 0;
        passed.capacity = kPassed;
        passed.full = [](CandidateList& list) { static_cast<Passed&>(list).scan->take(static_cast<Passed&>(list)); };
        passed.scan = this;
        passed.bounds = &bounds;
        passed.query = i;
        lower_limit(passed);
        if (passed.limit == 0) return;
        if (tile.code_stride > 1) {
            kernel_.scan(tile, set_.n_words(), filters_[i], passed);
        } else {
            const int64_t n_passed = kernel_.filter(tile, planes, n_bits_, filters_[i], passed);
            filters_.filtered(i, ceil_div(tile.count, kernel_.group), n_passed);
        }
        take(passed);
    }

    void lower_limit(Passed& passed) {
        const size_t query = static_cast<size_t>(share_.first_query + passed.query);
        passed.limit = static_cast<uint64_t>(passed.bounds->limit(queries_.totals[query], queries_.scales[query], best(passed.query)));
    }

    void take(Passed& passed) {
        const size_t query = static_cast<size_t>(share_.first_query + passed.query);
        for (int64_t i = 0; i < passed.size; ++i) {
            const uint64_t item = passed.items[i];
            const int64_t code = id(item_rank(item));
            const T factor = factors_.factors ? factors_.factors[code] : 1, offset = factors_.offsets ? factors_.offsets[code] : 0;
            best(passed.query)
                .add(score_of(queries_.totals[query], static_cast<int64_t>(item_distance(item)), queries_.scales[query], factor, offset),
                     code);
        }
        passed.size = 0;
        lower_limit(passed);
    }

    const CodeSet& set_;
    const AsymmetricKernel& kernel_;
    const QuantizedQueries<T>& queries_;
    const CodeFactors& factors_;
    const SearchShare& share_;
    const int n_bits_;
    WeightedQueries<uint16_t> filters_;
    std::vector<BestHits<T>> best_;
};

}  // namespace

template <class T>
void search_topk(const CodeSet& set, const QuantizedQueries<T>& queries, const CodeFactors& factors, int64_t k, Isa isa,
                 const SearchOptions& options, T* scores, int64_t* ids) {
    const int64_t n_queries = static_cast<int64_t>(queries.scales.size()), k_found = std::min(k, set.n_eligible());
    std::fill_n(scores, n_queries * k, -std::numeric_limits<T>::infinity());
    std::fill_n(ids, n_queries * k, int64_t{-1});
    if (k_found == 0) return;
    const AsymmetricKernel kernel = asymmetric_kernel(isa);
    const int64_t list_bytes = (2 * k_found + 16) * static_cast<int64_t>(sizeof(Hit<T>));
    const SearchPlan plan(n_queries, set.n_codes, options.threads, Mask::kBlock,
                          std::clamp<int64_t>(kMaxListBytes / list_bytes, 1, kMaxQueryBlock));
    std::vector<std::vector<Hit<T>>> parts(static_cast<size_t>(n_queries * plan.n_ranges));
    parallel_for(plan.n_tasks(), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const SearchShare share(plan, task);
        FactoredScan<T> scan(set, kernel, queries, factors, k_found, share);
        scan.run(job);
        for (int64_t i = 0; i < share.n_queries(); ++i) {
            parts[static_cast<size_t>((share.first_query + i) * plan.n_ranges + share.range)] = std::move(scan.best(i).keep_best());
        }
    });
    parallel_for(n_queries, options.threads, options.interrupted, [&](Job& job, int64_t query) {
        std::vector<Hit<T>> hits;
        for (int64_t range = 0; range < plan.n_ranges; ++range) {
            const auto& part = parts[static_cast<size_t>(query * plan.n_ranges + range)];
            hits.insert(hits.end(), part.begin(), part.end());
        }
        const int64_t n_hits = std::min(k_found, static_cast<int64_t>(hits.size()));
        std::partial_sort(hits.begin(), hits.begin() + n_hits, hits.end(), better<T>);
        for (int64_t i = 0; i < n_hits; ++i) {
            scores[query * k + i] = hits[static_cast<size_t>(i)].score;
            ids[query * k + i] = hits[static_cast<size_t>(i)].id;
        }
        job.checkpoint(static_cast<int64_t>(hits.size()));
    });
}

template void search_topk(const CodeSet&, const QuantizedQueries<float>&, const CodeFactors&, int64_t, Isa, const SearchOptions&, float*,
                          int64_t*);
template void search_topk(const CodeSet&, const QuantizedQueries<double>&, const CodeFactors&, int64_t, Isa, const SearchOptions&, double*,
                          int64_t*);

}  // namespace fasthash
