#include "order.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "../popcount.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "counts.h"
#include "sorted_records.h"

namespace fasthash {

namespace {

constexpr int64_t kRecordBytes = sizeof(Record);
constexpr int64_t kMaxRecordBytes = int64_t{16} << 20;  // of the queries that are ranked together, unless one has more
constexpr int64_t kMaxRowBytes = int64_t{128} << 10;    // of the vectors that are multiplied at once
constexpr int64_t kMostBySimilarity = 128;              // queries of a task, as many of which as can be read the same vectors
constexpr int64_t kRowsAhead = 8;                       // that are asked for before they are read
constexpr int64_t kFewPart = 5;  // the vectors of less than this part of the codes are multiplied one query at a time

// Queries that are ranked side by side, as a place waits for the last one at its distance to be written.
struct SideBySide {
    static constexpr int kQueries = 4;
    static constexpr int64_t kCodes = 2048;  // at once

    int32_t distances[kQueries][kCodes];
    int32_t labels[kQueries][kCodes],
        wanted[kQueries];  // relevant codes have a bit left or, where none is shared, the label that is wanted
    int64_t places[kQueries][kCodes], n_places[kQueries];  // of relevant codes

    // Finds the places of n codes. `next` is the next place at each distance for each query, [bins, kQueries].
    template <bool kShared>
    void place(int64_t n, int64_t* next, const int32_t* labels_of_all) {
        int64_t found[kQueries] = {};
        for (int64_t j = 0; j < n; ++j) {
#pragma GCC unroll 4
            for (int i = 0; i < kQueries; ++i) {
                places[i][found[i]] = next[distances[i][j] * kQueries + i]++;
                found[i] += kShared ? labels[i][j] != 0 : labels_of_all[j] == wanted[i];
            }
        }
        std::copy_n(found, kQueries, n_places);
    }
};

// The rankings of queries [first, last).
class RankTask {
public:
    RankTask(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingOrder& order, const RankingKernel& ranking,
             const HammingKernel& kernel, int64_t first, int64_t last)
        : set_(set),
          queries_(queries),
          labels_(labels),
          order_(order),
          ranking_(ranking),
          kernel_(kernel),
          first_(first),
          n_(last - first),
          bins_(set.n_bits() + 1),
          words_(queries, set.n_bytes, first, last),
          next_(static_cast<size_t>(n_ * bins_)),
          limits_(static_cast<size_t>(n_)),
          n_ranked_(static_cast<size_t>(n_)) {}

    // Finds where each distance begins in each ranking.
    void count(Job& job) {
        std::vector<int64_t> relevants(next_.size());
        for (int64_t first = 0; first < n_; first += kQueriesCounted) {
            const int64_t last = std::min(first + kQueriesCounted, n_), bin = first * bins_;
            distance_counts(set_, queries_, labels_, ranking_, kernel_, first_ + first, first_ + last, job, next_.data() + bin,
                            relevants.data() + bin);
        }
        for (int64_t i = 0; i < n_; ++i) {
            int64_t* const next = next_.data() + i * bins_;
            if (order_.own >= 0) --next[own_distance(first_ + i)];
            int64_t before = 0, limit = 0;
            for (int64_t d = 0; d < bins_; ++d) {
                if (before < order_.k && d <= order_.within) limit = d + 1;
                const int64_t here = next[d];
                next[d] = before;
                before += here;
                if (limit == d + 1) n_ranked_[static_cast<size_t>(i)] = before;
            }
            limits_[static_cast<size_t>(i)] = static_cast<uint64_t>(limit);
        }
    }

    // Sets the bits of the places that have a relevant code, [last - first, ceil(k / 8)].
    void rank(Job& job, uint8_t* bits) {
        const int64_t n_bytes = ceil_div(order_.k, 8);
        std::fill_n(bits, n_ * n_bytes, uint8_t{0});
        if (order_.similarity == nullptr) return rank_in_order(job, bits);
        read_queries();
        for (int64_t first = 0; first < n_;) {
            int64_t last = first, n_records = 0;
            do {
                n_records += n_ranked_[static_cast<size_t>(last++)];
            } while (last < n_ && (n_records + n_ranked_[static_cast<size_t>(last)]) * kRecordBytes <= kMaxRecordBytes);
            rank_by_similarity(job, first, last, n_records, bits);
            first = last;
        }
    }

private:
    uint64_t own_distance(int64_t query) const {
        const uint8_t *const code = queries_.codes + query * set_.n_bytes, *const own = set_.codes + (order_.own + query) * set_.n_bytes;
        uint64_t distance = 0;
        for (int i = 0; i < set_.n_bytes; ++i) distance += popcount(static_cast<uint64_t>(code[i] ^ own[i]));
        return distance;
    }

    // Calls visit(i, tile, list) for each of the task's queries [first, last), with the tile's codes that may be ranked.
    template <class Visit>
    void scan(Job& job, int64_t first, int64_t last, const Visit& visit) {
        TileReader reader(set_, 0, set_.n_codes, set_.n_words() == 1 ? kTileBytes : 0);
        const int64_t capacity = reader.most_codes() + 2 * kTileGroup;
        common_.resize(static_cast<size_t>(reader.most_codes()));
        const std::unique_ptr<uint64_t[]> items(new uint64_t[static_cast<size_t>(capacity)]);
        for (CodeTile tile; reader.next(tile);) {
            for (int64_t i = first; i < last; ++i) {
                CandidateList list{items.get(), 0, capacity, limits_[static_cast<size_t>(i)], order_.k, nullptr};
                kernel_.scan(tile, set_.n_words(), words_[i], list);
                if (order_.own >= 0) drop(order_.own + first_ + i, list);
                if (list.size > 0) visit(i, tile, list);
                job.checkpoint(tile.count / 2 + 2 * list.size);
            }
        }
    }

    static void drop(int64_t rank, CandidateList& list) {
        uint64_t* const end = list.items + list.size;
        uint64_t* const at = std::lower_bound(list.items, end, rank, [](uint64_t item, int64_t own) { return item_rank(item) < own; });
        if (at == end || item_rank(*at) != rank) return;
        std::copy(at + 1, end, at);
        --list.size;
    }

    Relevance relevance(int64_t i, const CodeTile& tile) {
        return relevance_of(labels_, first_ + i, tile.base, tile.count, common_.data());
    }

    void rank_in_order(Job& job, uint8_t* bits) {
        const int64_t n_bytes = ceil_div(order_.k, 8);
        int64_t n_ranked = 0;
        for (int64_t n : n_ranked_) n_ranked += n;
        if (n_ranked * kFewPart < n_ * set_.n_codes) {
            scan(job, 0, n_, [&](int64_t i, const CodeTile& tile, CandidateList& list) { place(i, tile, list, bits + i * n_bytes); });
        } else {
            place_all(job, bits);
        }
    }

    void place_all(Job& job, uint8_t* bits) {
        constexpr int64_t kQueries = SideBySide::kQueries;
        const int64_t bins = bins_ + 1, n_bytes = ceil_div(order_.k, 8);
        // At the distances that are not ranked, and at one more for a query's own code, places are past those wanted.
        std::vector<int64_t> next(static_cast<size_t>(round_up(n_, kQueries) * bins), order_.k);
        for (int64_t i = 0; i < n_; ++i) {
            int64_t* const of_query = next.data() + i / kQueries * kQueries * bins + i % kQueries;
            for (uint64_t d = 0; d < limits_[static_cast<size_t>(i)]; ++d)
                of_query[d * kQueries] = next_[static_cast<size_t>(i * bins_) + d];
        }
        const auto side = std::make_unique<SideBySide>();
        TileReader reader(set_, 0, set_.n_codes, set_.n_words() == 1 ? kTileBytes : 0);
        common_.resize(SideBySide::kCodes);
        for (CodeTile whole; reader.next(whole);) {
            for (int64_t at = 0; at < whole.count; at += SideBySide::kCodes) {
                const CodeTile tile{whole.words + at * whole.code_stride, whole.code_stride, whole.word_stride,
                                    std::min(SideBySide::kCodes, whole.count - at), whole.base + at};
                for (int64_t i = 0; i < n_; i += kQueries) {
                    const int64_t n_queries = std::min(kQueries, n_ - i);
                    for (int64_t s = 0; s < n_queries; ++s) compare(i + s, tile, *side, s);
                    int64_t* const next_of_queries = next.data() + i * bins;
                    if (labels_.shared) side->place<true>(tile.count, next_of_queries, nullptr);
                    else side->place<false>(tile.count, next_of_queries, labels_.codes + tile.base);
                    for (int64_t s = 0; s < n_queries; ++s) {
                        for (int64_t j = 0; j < side->n_places[s]; ++j) set_bit(side->places[s][j], bits + (i + s) * n_bytes);
                    }
                    job.checkpoint(n_queries * tile.count);
                }
            }
        }
    }

    // Writes the distances and the labels of a tile as the s-th of the queries side by side has them.
    void compare(int64_t i, const CodeTile& tile, SideBySide& side, int64_t s) {
        kernel_.distances(tile, set_.n_words(), words_[i], side.distances[s]);
        const int64_t left_out = order_.own + first_ + i - tile.base;
        if (order_.own >= 0 && left_out >= 0 && left_out < tile.count) side.distances[s][left_out] = static_cast<int32_t>(bins_);
        const Relevance of_tile = relevance(i, tile);
        side.wanted[s] = of_tile.wanted;
        if (!of_tile.shared) return;
        for (int64_t j = 0; j < tile.count; ++j) side.labels[s][j] = of_tile.labels[j] & of_tile.wanted;
    }

    // Overwrites the items.
    void place(int64_t i, const CodeTile& tile, CandidateList& list, uint8_t* bits) {
        uint64_t* const items = list.items;
        int64_t* const next = next_.data() + i * bins_;
        int64_t n_places = 0;
        visit_relevant(
            relevance(i, tile), list.size, [&](int64_t j) { return item_rank(items[j]) - tile.base; },
            [&](int64_t j, bool relevant) {
                const uint64_t place = static_cast<uint64_t>(next[item_distance(items[j])]++);
                items[n_places] = place;
                n_places += relevant;
            });
        for (int64_t j = 0; j < n_places; ++j) set_bit(static_cast<int64_t>(items[j]), bits);
    }

    void set_bit(int64_t place, uint8_t* bits) const {
        if (place < order_.k) bits[place / 8] = static_cast<uint8_t>(bits[place / 8] | 1 << place % 8);
    }

    // Of the places [begin, end).
    static void set_bits(const Record* records, int64_t begin, int64_t end, uint8_t* bits) {
        for (int64_t place = begin; place < end;) {
            unsigned byte = 0;
            const int64_t at = place / 8, stop = std::min(end, 8 * at + 8);
            for (; place < stop; ++place) byte |= static_cast<unsigned>(is_relevant(records[place])) << place % 8;
            bits[at] = static_cast<uint8_t>(bits[at] | byte);
        }
    }

    void rank_by_similarity(Job& job, int64_t first, int64_t last, int64_t n_records, uint8_t* bits) {
        const std::unique_ptr<Record[]> memory(new Record[static_cast<size_t>(n_records)]);
        std::vector<Record*> records{memory.get()};
        for (int64_t i = first; i < last; ++i) records.push_back(records.back() + n_ranked_[static_cast<size_t>(i)]);
        const bool few = n_records * kFewPart < (last - first) * set_.n_codes;
        int64_t multiplied = -1;  // the first code of the tile whose products are there
        scan(job, first, last, [&](int64_t i, const CodeTile& tile, CandidateList& list) {
            const double* products;
            if (few) {
                products = multiply(i, i + 1, list.size, [&](int64_t j) { return item_rank(list.items[j]); });
            } else {
                if (multiplied != tile.base) multiply(first, last, tile.count, [&](int64_t j) { return tile.base + j; });
                multiplied = tile.base;
                products = products_.data() + (i - first) * tile.count;
            }
            job.checkpoint(list.size * order_.similarity->codes.width / (few ? 8 : 32));
            int64_t* const next = next_.data() + i * bins_;
            Record* const own = records[static_cast<size_t>(i - first)];
            visit_relevant(
                relevance(i, tile), list.size, [&](int64_t j) { return item_rank(list.items[j]) - tile.base; },
                [&](int64_t j, bool relevant) {
                    const uint64_t item = list.items[j];
                    const int64_t rank = item_rank(item);
                    const double similarity = products[few ? j : rank - tile.base] * order_.similarity->scales[rank];
                    own[next[item_distance(item)]++] = make_record(similarity, relevant);
                });
        });
        const int64_t n_bytes = ceil_div(order_.k, 8);
        for (int64_t i = first; i < last; ++i) place_sorted(job, i, records[static_cast<size_t>(i - first)], bits + i * n_bytes);
    }

    // Once a distance's records are all there, its next place is where the following distance begins.
    void place_sorted(Job& job, int64_t i, Record* records, uint8_t* bits) {
        int64_t begin = 0;
        for (uint64_t d = 0; d < limits_[static_cast<size_t>(i)]; ++d) {
            const int64_t end = next_[static_cast<size_t>(i * bins_) + d];
            sort_records(records + begin, end - begin, scratch_);
            set_bits(records, begin, std::min(end, order_.k), bits);
            job.checkpoint(10 * (end - begin));
            begin = end;
        }
    }

    // The queries' vectors, of length 1.
    void read_queries() {
        const Vectors& vectors = order_.similarity->queries;
        const int64_t width = vectors.width;
        query_vectors_.resize(static_cast<size_t>(n_ * width));
        for (int64_t i = 0; i < n_; ++i) {
            double* const vector = query_vectors_.data() + i * width;
            vectors.read(first_ + i, ranking_, vector);
            double sum = 0;
            for (int64_t j = 0; j < width; ++j) sum += vector[j] * vector[j];
            const double scale = 1 / std::max(std::sqrt(sum), kShortest);
            for (int64_t j = 0; j < width; ++j) vector[j] *= scale;
        }
    }

    // The products of queries [first, last) with n codes, the j-th of which is code_of(j): [last - first, n].
    template <class CodeOf>
    const double* multiply(int64_t first, int64_t last, int64_t n, const CodeOf& code_of) {
        const Vectors& codes = order_.similarity->codes;
        const int64_t width = codes.width, step = std::clamp<int64_t>(kMaxRowBytes / (8 * width + 1), 16, 512);
        rows_.resize(static_cast<size_t>(step * width));
        products_.resize(std::max(products_.size(), static_cast<size_t>((last - first) * n)));
        for (int64_t begin = 0; begin < n; begin += step) {
            const int64_t n_rows = std::min(step, n - begin);
            for (int64_t j = 0; j < n_rows; ++j) {
                if (j + kRowsAhead < n_rows) codes.prefetch(code_of(begin + j + kRowsAhead));
                codes.read(code_of(begin + j), ranking_, rows_.data() + j * width);
            }
            const double* const vectors = query_vectors_.data() + first * width;
            order_.similarity->multiply(
                {last - first, n_rows, width, vectors, width, 1, rows_.data(), 1, width, 1, nullptr, 0, products_.data() + begin, n});
        }
        return products_.data();
    }

    static constexpr double kShortest = 1e-12;  // vectors below have no direction

    const CodeSet& set_;
    const QuerySet& queries_;
    const Labels& labels_;
    const RankingOrder& order_;
    const RankingKernel& ranking_;
    const HammingKernel& kernel_;
    const int64_t first_, n_, bins_;
    const QueryWords words_;
    std::vector<int64_t> next_;      // [n, bins]: the place of the next code at each distance
    std::vector<uint64_t> limits_;   // codes below these distances are ranked
    std::vector<int64_t> n_ranked_;  // how many they are
    std::vector<int32_t> common_;    // of a tile
    std::vector<double> query_vectors_, rows_, products_;
    std::vector<Record> scratch_;
};

}  // namespace

void Vectors::read(int64_t row, const RankingKernel& kernel, double* to) const {
    if (single_precision) kernel.widen(single_precision + row * width, width, to);
    else std::copy_n(double_precision + row * width, width, to);
}

void Vectors::prefetch(int64_t row) const {
    const auto* const bytes = single_precision ? reinterpret_cast<const char*>(single_precision + row * width)
                                               : reinterpret_cast<const char*>(double_precision + row * width);
    const int64_t n_bytes = width * static_cast<int64_t>(single_precision ? sizeof(float) : sizeof(double));
    for (int64_t byte = 0; byte < std::min<int64_t>(n_bytes, 512); byte += 64) __builtin_prefetch(bytes + byte);
}

void relevance_by_place(const CodeSet& set, const QuerySet& queries, const Labels& labels, const RankingOrder& order,
                        const RankingKernel& kernel, const SearchOptions& options, uint8_t* bits) {
    const int64_t n_bytes = ceil_div(order.k, 8), most = order.similarity ? kMostBySimilarity : kQueriesCounted;
    const int64_t step = std::clamp<int64_t>(queries.n_queries / options.threads, 1, most);
    parallel_for(ceil_div(queries.n_queries, step), options.threads, options.interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * step, last = std::min(first + step, queries.n_queries);
        RankTask ranks(set, queries, labels, order, kernel, options.kernel, first, last);
        ranks.count(job);
        ranks.rank(job, bits + first * n_bytes);
    });
}

}  // namespace fasthash
