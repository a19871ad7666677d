#include <algorithm>
#include <cstring>

#include "../popcount.h"
#include "../thread_pool.h"
#include "pair_search.h"

namespace fasthash {

namespace {

constexpr int kMostRangeBits = 10;

int32_t distance(const CodeRows& rows, int64_t i, int64_t j) {
    const uint8_t *const a = rows.code(i), *const b = rows.code(j);
    uint64_t sum = 0;
    for (int byte = 0; byte < rows.n_bytes; byte += 8) {
        const size_t n = static_cast<size_t>(std::min(8, rows.n_bytes - byte));
        uint64_t x = 0, y = 0;
        std::memcpy(&x, a + byte, n);
        std::memcpy(&y, b + byte, n);
        sum += popcount(x ^ y);
    }
    return static_cast<int32_t>(sum);
}

}  // namespace

// Pairs go to ranges of rows, in the memory of j, and are sorted there.
void PairSearch::take(int64_t* i, int64_t* j, int32_t* distances, const Poll& interrupted) {
    const int range_bits = std::max(0, log2_ceil(end() - first_) - kMostRangeBits);
    const auto range_of = [&](uint64_t pair) { return static_cast<size_t>((static_cast<int64_t>(pair >> 32) - first_) >> range_bits); };
    std::vector<int64_t> begins((size_t{1} << kMostRangeBits) + 2, 0);
    for (uint64_t pair : pairs_) ++begins[range_of(pair) + 2];
    for (size_t range = 2; range < begins.size(); ++range) begins[range] += begins[range - 1];
    for (uint64_t pair : pairs_) std::memcpy(j + begins[range_of(pair) + 1]++, &pair, sizeof pair);
    const int64_t of_second = rows_.two_sets ? rows_.n_codes : 0;
    pairs_ = {};
    parallel_for(int64_t{1} << kMostRangeBits, options_.threads, interrupted, [&](Job& job, int64_t range) {
        int64_t* const begin = j + begins[static_cast<size_t>(range)];
        int64_t* const end = j + begins[static_cast<size_t>(range) + 1];
        std::sort(reinterpret_cast<uint64_t*>(begin), reinterpret_cast<uint64_t*>(end));
        for (int64_t* at = begin; at < end; ++at) {
            uint64_t pair;
            std::memcpy(&pair, at, sizeof pair);
            const int64_t a = static_cast<int64_t>(pair >> 32), b = static_cast<int64_t>(pair & UINT32_MAX);
            i[at - j] = a;
            *at = b - of_second;
            distances[at - j] = distance(rows_, a, b);
        }
        job.checkpoint((end - begin) * 50);
    });
    first_ = end();
    begin_pass();
}

}  // namespace fasthash
