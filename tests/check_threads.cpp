// Calls the core from several threads at once, interrupts it, and forks meanwhile; built and run under the thread sanitizer by `make tsan`.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../csrc/asymmetric/factored_search.h"
#include "../csrc/asymmetric/search.h"
#include "../csrc/cpu_features.h"
#include "../csrc/h2q/trainer.h"
#include "../csrc/hamming/search.h"
#include "../csrc/householder/rotation.h"
#include "../csrc/id_map/id_map.h"
#include "../csrc/multi_index/search.h"
#include "../csrc/packing/pack_bits.h"
#include "../csrc/packing/pack_projections.h"
#include "../csrc/pairs/pair_search.h"
#include "../csrc/planes/search.h"
#include "../csrc/ranking/counts.h"
#include "../csrc/ranking/order.h"
#include "../csrc/ranking/places.h"
#include "../csrc/thread_pool.h"
#include "../csrc/wasserstein/sorted_cost.h"
#include "../csrc/wasserstein/two_point_cost.h"

using namespace fasthash;

namespace {

constexpr int64_t kCodes = 140'000, kQueries = 150, kHits = 9, kRows = 1100, kColumns = 64, kReflections = 64;
constexpr int kBytes = 8, kThreads = 3, kForks = 100;

template <class T>
using Values = std::vector<T>;

struct Data {
    Values<uint8_t> codes, queries;
    Values<int32_t> labels, query_labels;
    Values<int64_t> n_low;
    Values<double> x, v;
    Values<float> rows, rotations;

    Data()
        : codes(kCodes * kBytes),
          queries(kQueries * kBytes),
          labels(kCodes, 1),
          query_labels(kQueries, 1),
          n_low(kColumns, kRows / 2),
          x(kRows * kColumns),
          v(kReflections * kColumns),
          rows(kRows * 8),
          rotations(2 * 64) {
        std::mt19937 random(0);
        for (uint8_t& byte : codes) byte = static_cast<uint8_t>(random() & 0x55);  // many are near each other
        for (uint8_t& byte : queries) byte = static_cast<uint8_t>(random() & 0x55);
        for (double& value : x) value = std::normal_distribution<double>()(random);
        for (double& value : v) value = std::normal_distribution<double>()(random);
        for (float& value : rows) value = random() % 2 ? 1.0F : -1.0F;
        for (float& value : rotations) value = std::normal_distribution<float>()(random);
    }
};

// Every call that is shared out over threads. Returns a number that depends on what they give.
int64_t call_all(const Data& data, int threads, const std::function<bool()>& interrupted) {
    const Isa isa = select_isa("");
    const CodeSet set{data.codes.data(), kCodes, kBytes, nullptr};
    const QuerySet queries{data.queries.data(), kQueries};
    const SearchOptions options{hamming_kernel(isa), threads, interrupted};
    int64_t sum = 0;

    Values<int32_t> distances(kQueries * kHits);
    Values<int64_t> ids(distances.size());
    Values<int32_t> all(kQueries * 1000);
    for (int64_t n_queries : {int64_t{1}, kQueries}) {
        search_topk(set, {queries.codes, n_queries}, kHits, options, distances.data(), ids.data());
        all_distances({set.codes, 1000, kBytes, nullptr}, {queries.codes, n_queries}, options, all.data());
        sum += ids[0] + all[999];
        HitGroups found = search_radius(set, {queries.codes, n_queries}, 5, options);
        Values<int64_t> offsets(static_cast<size_t>(n_queries) + 1);
        write_offsets(found, n_queries, offsets.data());
        Values<int32_t> hit_distances(static_cast<size_t>(offsets.back()));
        Values<int64_t> hit_ids(hit_distances.size());
        write_hits(found, 5, offsets.data(), threads, interrupted, hit_distances.data(), hit_ids.data());
        for (int64_t id : hit_ids) sum += id;
    }

    const QuantizedQueries<double> real_queries(data.x.data(), kQueries, kColumns, 8 * kBytes, 4);
    Values<double> scores(ids.size());
    search_topk(set, real_queries, kHits, isa, options, scores.data(), ids.data());
    sum += ids[0] + static_cast<int64_t>(scores[1] * 1e6);
    const Values<float> factors(static_cast<size_t>(kCodes), 1.5F);
    search_topk(set, real_queries, {factors.data(), nullptr}, kHits, isa, options, scores.data(), ids.data());
    sum += ids[0] + static_cast<int64_t>(scores[1] * 1e6);

    Values<uint64_t> blocks(static_cast<size_t>((kCodes + kBlockCodes - 1) / kBlockCodes * block_words(8 * kBytes)));
    const PlanesKernel planes = planes_kernel(isa);
    write_codes(set.codes, kCodes, kBytes, 0, planes, threads, interrupted, blocks.data());
    Values<uint8_t> read(data.codes.size());
    read_codes(blocks.data(), kCodes, kBytes, 0, planes, threads, interrupted, read.data());
    const Values<int64_t> gathered(3000, kCodes - 1);
    gather_codes(blocks.data(), gathered.data(), 3000, kBytes, threads, interrupted, read.data());
    const StoredCodes on_planes(blocks.data(), kCodes, kBytes, nullptr, planes);
    for (int64_t n_queries : {int64_t{1}, kQueries}) {
        search_topk(on_planes, {queries.codes, n_queries}, kHits, options, distances.data(), ids.data());
        Values<int64_t> offsets(static_cast<size_t>(n_queries) + 1);
        write_offsets(search_radius(on_planes, {queries.codes, n_queries}, 5, options), n_queries, offsets.data());
        sum += ids[0] + read[100] + offsets.back();
    }

    const Tables tables(data.codes.data(), kCodes - 1000, kBytes, 8 * kBytes, 4, Layout::fast, threads, interrupted);
    const MultiSearchOptions with_tables{options, multi_index_kernel(isa), 0};
    search_topk(tables, set, queries, kHits, with_tables, distances.data(), ids.data(), nullptr);
    sum += ids[0];
    HitGroups found = search_radius(tables, set, queries, 3, with_tables);
    Values<int64_t> offsets(kQueries + 1);
    write_offsets(found, kQueries, offsets.data());
    sum += offsets.back();

    for (int n_parts : {4, 5, kScan}) {
        const int64_t n_codes = n_parts == kScan ? 3000 : 40'000;
        const PairOptions pair_options{pairs_kernel(isa), options.kernel, threads, n_parts, 500};
        PairSearch search({data.codes.data(), n_codes, nullptr, 0, kBytes, false}, 3, 0, pair_options, interrupted);
        while (search.first() < n_codes) {  // where a pass ends is left to chance
            while (!search.step(interrupted)) {}
            Values<int64_t> i(static_cast<size_t>(search.n_pairs())), j(i.size());
            Values<int32_t> apart(i.size());
            search.take(i.data(), j.data(), apart.data(), interrupted);
            for (int32_t distance : apart) sum += distance;
        }
    }

    Values<int64_t> sought(kCodes), positions(kCodes);
    for (int64_t i = 0; i < kCodes; ++i) sought[static_cast<size_t>(i)] = i * 7919 % kCodes;
    Values<uint64_t> slots(size_t{1} << 18, kEmptySlot);
    const PositionBits every{nullptr, 0};
    const IdList list{sought.data(), kCodes, every};
    sum += insert_ids({slots.data(), 18}, list, every, 0, id_map_kernel(isa), interrupted);
    find_ids({slots.data(), 18}, list, sought.data(), kCodes, id_map_kernel(isa), threads, interrupted, positions.data());
    sum += positions[100];

    Values<int64_t> totals(kQueries * (8 * kBytes + 1)), relevants(totals.size());
    const Labels labels{data.query_labels.data(), data.labels.data(), kCodes, 1, false};
    distance_counts(set, queries, labels, ranking_kernel(isa), options, totals.data(), relevants.data());
    sum += totals[20];

    constexpr int64_t kWidth = 4;
    const Values<float> vectors(kCodes * kWidth, 0.5F);
    const Values<double> scales(kCodes, 1);
    const Vectors of_all{vectors.data(), nullptr, kWidth};
    const Similarity similarity{of_all, of_all, scales.data(), matrix_product_kernel(isa).of<double>()};
    for (const Similarity* by : {static_cast<const Similarity*>(nullptr), &similarity}) {
        for (int64_t k : {int64_t{100}, kCodes}) {
            Values<uint8_t> bits(static_cast<size_t>(kQueries * ((k + 7) / 8)));
            relevance_by_place(set, queries, labels, {k, 8 * kBytes, -1, by}, ranking_kernel(isa), options, bits.data());
            const PlaceBits places{bits.data(), kQueries, (k + 7) / 8};
            Values<int64_t> found_places(kQueries);
            Values<double> precisions(kQueries), by_place(8 * bits.size() / kQueries);
            average_precision(places, threads, interrupted, found_places.data(), precisions.data());
            weight_by_place(places, precisions.data(), threads, interrupted, by_place.data());
            sum += found_places[1] + static_cast<int64_t>(by_place[0]);
        }
    }

    const Multiply<double> multiply = matrix_product_kernel(isa).of<double>();
    Values<uint8_t> packed(kRows * kReflections / 8);
    const Projections<double> projections{data.x.data(), kRows, kColumns, kColumns, 1, data.v.data(), kColumns, nullptr};
    sum += pack_projections<double>(projections, packed.data(), multiply, packing_kernel(isa), threads, interrupted) + packed[0];

    const Elements elements{reinterpret_cast<const uint8_t*>(data.x.data()), Element::float64, 8, kRows, kColumns};
    sum += pack_bits(elements, packed.data(), packing_kernel(isa), threads, interrupted) + packed[1];

    Values<double> gradient(data.x.size());
    const TwoPointColumns<double> columns{data.x.data(),   kRows, kColumns, kColumns, 1, data.n_low.data(), 0.5, -1, 1, 2,
                                          gradient.data(), 1};
    sum += static_cast<int64_t>(two_point_cost<double>(columns, wasserstein_kernel(isa), threads, interrupted));
    const SampleColumns<double> sample{data.x.data(), kRows, kColumns, 1, gradient.data()},
        other{data.x.data(), kRows / 2, kColumns, 1, nullptr};
    sum += static_cast<int64_t>(sorted_cost<double>(sample, other, kColumns, 2, 1, threads, interrupted));

    const Rotation<double> rotation{kRows, kColumns, kReflections, data.x.data(), data.v.data(), false};
    const RotationKernels kernels{householder_kernel(isa), matrix_product_kernel(isa)};
    Values<double> y(data.x.size()), q(kRows * kReflections), s_inverse(kReflections * kReflections), dx(y.size()), dv(data.v.size());
    householder_apply(rotation, y.data(), q.data(), s_inverse.data(), kernels, threads, interrupted);
    householder_backward(rotation, y.data(), q.data(), s_inverse.data(), dx.data(), dv.data(), kernels, threads, interrupted);
    sum += static_cast<int64_t>(dv[0] * 1e6);

    const H2QSettings settings{BitLoss::l2, Optimizer::adam, 0.01, true, true, 3, 64, 0, 0};
    H2QTrainer trainer(data.rows.data(), kRows, data.rows.data(), 50, 8, data.rotations.data(), 2, settings, h2q_kernel(isa),
                       matrix_product_kernel(isa).of<float>());
    trainer.train(3, threads, interrupted);
    return sum + static_cast<int64_t>(trainer.best(1)[0] * 1e6F);
}

bool never() { return false; }

// Whether the calls are interrupted, at a later moment each time, or end before.
bool interrupted_at_every_moment(const Data& data, int64_t expected) {
    for (int polls = 0; polls < 4; ++polls) {
        int left = polls;
        try {
            if (call_all(data, kThreads, [&left] { return left-- == 0; }) != expected) return false;
        } catch (const Interrupted&) {}
    }
    return true;
}

// Whether an exception of one task reaches the caller.
bool rethrown(int threads) {
    try {
        parallel_for(100, threads, never, [](Job&, int64_t task) {
            if (task % 10 == 5) throw std::runtime_error("task");
        });
    } catch (const std::runtime_error&) {
        return true;
    }
    return false;
}

// What the child can still call is for tests/ops/test_fork.py: here the sanitizer's own locks may be held at the fork, for ever in the child.
int fork_and_end() {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

}  // namespace

int main() {
    const Data data;
    const int64_t expected = call_all(data, kThreads, never);
    std::atomic<int> wrong{0};
    std::atomic<bool> done{false};
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i) {
        callers.emplace_back([&, i] {
            do {
                if (call_all(data, kThreads, never) != expected) ++wrong;
                if (i == 0 && !interrupted_at_every_moment(data, expected)) ++wrong;
                if (!rethrown(kThreads)) ++wrong;
            } while (!done);
        });
    }
    for (int i = 0; i < kForks; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(37));
        if (fork_and_end() != 0) ++wrong;
    }
    done = true;
    for (std::thread& caller : callers) caller.join();
    std::printf("%d calls were wrong\n", wrong.load());
    return wrong != 0;
}
