#include "counts.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kLabelsAtOnce = 4096;
constexpr int kCounters = 4;  // side by side, so that equal neighbours do not wait for each other

int64_t count_relevant(const Labels& labels, int64_t query) {
    std::vector<int32_t> common(kLabelsAtOnce);
    int64_t n_relevant = 0;
    for (int64_t first = 0; first < labels.n_codes; first += kLabelsAtOnce) {
        const int64_t n = std::min(kLabelsAtOnce, labels.n_codes - first);
        visit_relevant(relevance_of(labels, query, first, n, common.data()), n, [&](int64_t, bool relevant) { n_relevant += relevant; });
    }
    return n_relevant;
}

// One query's counts: in each counter, places 2 d and 2 d + 1 hold the irrelevant and relevant codes at distance d.
class Counts {
public:
    BitCounts bits{};  // what is counted there

    explicit Counts(int64_t bins) : bins_(bins), counts_(static_cast<size_t>(kCounters * 2 * bins)) {}

    // Overwrites the distances.
    void add(int32_t* distances, const Relevance& relevance, int64_t n) {
        visit_relevant(relevance, n, [&](int64_t i, bool relevant) { distances[i] = 2 * distances[i] + relevant; });
        uint32_t* const counts = counts_.data();
        const int64_t stride = 2 * bins_;
        int64_t i = 0;
        for (; i + kCounters <= n; i += kCounters) {
            for (int64_t counter = 0; counter < kCounters; ++counter) ++counts[counter * stride + distances[i + counter]];
        }
        for (; i < n; ++i) ++counts[distances[i]];
    }

    void write(int64_t* totals, int64_t* relevants) const {
        for (int64_t d = 0; d < bins_; ++d) {
            totals[d] = relevants[d] = 0;
            for (int64_t counter = 0; counter < kCounters; ++counter) {
                const uint32_t* const counts = counts_.data() + (counter * bins_ + d) * 2;
                totals[d] += int64_t{counts[0]} + counts[1];
                relevants[d] += counts[1];
            }
            if (d < 64) {
                totals[d] += bits.all[d];
                relevants[d] += bits.relevant[d];
            }
        }
    }

private:
    int64_t bins_;
    std::vector<uint32_t> counts_;
};

// The counts of queries [first, last).
class CountTask {
public:
    CountTask(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingKernel& kernel,
              const HammingKernel& distances, int64_t first, int64_t last)
        : set_(set),
          labels_(labels),
          kernel_(kernel),
          distances_kernel_(distances),
          first_(first),
          n_(last - first),
          in_bits_(kernel.count != nullptr && set.n_words() == 1),
          words_(queries, set.n_bytes, first, last),
          counts_(static_cast<size_t>(n_), Counts(set.n_bits() + 1)) {}

    void run(Job& job) {
        TileReader reader(set_, 0, set_.n_codes, set_.n_words() == 1 ? kTileBytes : 0);
        for (CodeTile tile; reader.next(tile);) {
            distances_.resize(static_cast<size_t>(tile.count));
            common_.resize(static_cast<size_t>(tile.count));
            for (int64_t i = 0; i < n_; ++i) count(tile, i);
            job.checkpoint(n_ * tile.count);
        }
    }

    void write(int64_t* totals, int64_t* relevants) {
        const int64_t bins = set_.n_bits() + 1;
        for (int64_t i = 0; i < n_; ++i) {
            int64_t *const all = totals + i * bins, *const relevant = relevants + i * bins;
            Counts& own = counts_[static_cast<size_t>(i)];
            if (in_bits_) kernel_.finish(own.bits);
            own.write(all, relevant);
            if (in_bits_ && bins > 64) {
                all[64] = set_.n_codes - std::accumulate(all, all + 64, int64_t{0});
                if (all[64] > 0) relevant[64] = count_relevant(labels_, first_ + i) - std::accumulate(relevant, relevant + 64, int64_t{0});
            }
        }
    }

private:
    void count(const CodeTile& tile, int64_t i) {
        Counts& own = counts_[static_cast<size_t>(i)];
        Relevance relevance = relevance_of(labels_, first_ + i, tile.base, tile.count, common_.data());
        CodeTile rest = tile;
        if (in_bits_) {
            const int64_t counted = kernel_.count(tile, *words_[i], relevance, own.bits);
            relevance.labels += counted;
            rest.words += counted;
            rest.count -= counted;
        }
        distances_kernel_.distances(rest, set_.n_words(), words_[i], distances_.data());
        own.add(distances_.data(), relevance, rest.count);
    }

    const CodeSet& set_;
    const Labels& labels_;
    const RankingKernel& kernel_;
    const HammingKernel& distances_kernel_;
    const int64_t first_, n_;
    const bool in_bits_;  // whether most codes are counted by the ranking kernel
    const QueryWords words_;
    std::vector<Counts> counts_;
    std::vector<int32_t> distances_, common_;  // of a tile
};

}  // namespace

void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingKernel& kernel,
                     const HammingKernel& distances, int64_t first, int64_t last, Job& job, int64_t* totals, int64_t* relevants) {
    CountTask counts(set, queries, labels, kernel, distances, first, last);
    counts.run(job);
    counts.write(totals, relevants);
}

void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingKernel& kernel,
                     const SearchOptions& options, int64_t* totals, int64_t* relevants) {
    const int64_t bins = set.n_bits() + 1, step = std::clamp<int64_t>(queries.n_queries / options.threads, 1, kQueriesCounted);
    parallel_for(ceil_div(queries.n_queries, step), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * step, last = std::min(first + step, queries.n_queries);
        distance_counts(set, queries, labels, kernel, options.kernel, first, last, job, totals + first * bins, relevants + first * bins);
    });
}

}  // namespace fasthash
