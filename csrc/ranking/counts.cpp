#include "counts.h"

#include <algorithm>
#include <vector>

#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kQueriesPerTask = 16;
constexpr int kCounters = 4;            // side by side, so that equal neighbours do not wait for each other

// One query's counts: in each counter, places 2 d and 2 d + 1 hold the irrelevant and relevant codes at distance d.
class Counts {
public:
    explicit Counts(int64_t bins) : bins_(bins), counts_(static_cast<size_t>(kCounters * 2 * bins)) {}

    void add(const int32_t* distances, const uint8_t* relevant, int64_t n) {
        uint32_t* const counts = counts_.data();
        const int64_t stride = 2 * bins_;
        int64_t i = 0;
        for (; i + kCounters <= n; i += kCounters) {
            for (int64_t counter = 0; counter < kCounters; ++counter) {
                ++counts[counter * stride + 2 * distances[i + counter] + relevant[i + counter]];
            }
        }
        for (; i < n; ++i) ++counts[2 * distances[i] + relevant[i]];
    }

    void write(int64_t* totals, int64_t* relevants) const {
        for (int64_t d = 0; d < bins_; ++d) {
            totals[d] = relevants[d] = 0;
            for (int64_t counter = 0; counter < kCounters; ++counter) {
                const uint32_t* const counts = counts_.data() + (counter * bins_ + d) * 2;
                totals[d] += int64_t{counts[0]} + counts[1];
                relevants[d] += counts[1];
            }
        }
    }

private:
    int64_t bins_;
    std::vector<uint32_t> counts_;
};

// Which of the codes [first, first + n) are relevant; `common` is scratch of as many words.
void mark_relevant(const Labels& labels, int64_t n_codes, int64_t query, int64_t first, int64_t n, uint8_t* relevant, int32_t* common) {
    const int32_t* const wanted = labels.queries + query * labels.n_words;
    const int32_t* code = labels.codes + first;
    if (!labels.shared) {
        for (int64_t i = 0; i < n; ++i) relevant[i] = code[i] == wanted[0];
        return;
    }
    for (int64_t i = 0; i < n; ++i) common[i] = code[i] & wanted[0];
    for (int64_t word = 1; word < labels.n_words; ++word) {
        if (wanted[word] == 0) continue;
        code = labels.codes + word * n_codes + first;
        for (int64_t i = 0; i < n; ++i) common[i] |= code[i] & wanted[word];
    }
    for (int64_t i = 0; i < n; ++i) relevant[i] = common[i] != 0;
}

}  // namespace

void distance_counts(const CodeSet& set, const QuerySet& queries, const Labels& labels, const SearchOptions& options, int64_t* totals,
                     int64_t* relevants) {
    const int64_t bins = 8 * int64_t{set.n_bytes} + 1;
    const int n_words = set.n_words();
    parallel_for((queries.n_queries + kQueriesPerTask - 1) / kQueriesPerTask, options.threads, [&](Job& job, int64_t task) {
        const int64_t first = task * kQueriesPerTask, n = std::min(kQueriesPerTask, queries.n_queries - first);
        std::vector<uint64_t> words(static_cast<size_t>(n * n_words));
        for (int64_t i = 0; i < n; ++i) code_to_words(queries.codes + (first + i) * set.n_bytes, set.n_bytes, words.data() + i * n_words, 1);
        std::vector<Counts> counts(static_cast<size_t>(n), Counts(bins));
        std::vector<int32_t> distances, common;
        std::vector<uint8_t> relevant;
        TileReader reader(set, 0, set.n_codes, 0);
        for (CodeTile tile; reader.next(tile);) {
            distances.resize(static_cast<size_t>(tile.count));
            relevant.resize(static_cast<size_t>(tile.count));
            common.resize(static_cast<size_t>(tile.count));
            for (int64_t i = 0; i < n; ++i) {
                options.kernel.distances(tile, n_words, words.data() + i * n_words, distances.data());
                mark_relevant(labels, set.n_codes, first + i, tile.base, tile.count, relevant.data(), common.data());
                counts[static_cast<size_t>(i)].add(distances.data(), relevant.data(), tile.count);
            }
            job.checkpoint(n * tile.count * 2);
        }
        for (int64_t i = 0; i < n; ++i) counts[static_cast<size_t>(i)].write(totals + (first + i) * bins, relevants + (first + i) * bins);
    }, options.interrupted);
}

}  // namespace fasthash
