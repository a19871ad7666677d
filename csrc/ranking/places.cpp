#include "places.h"

#include <algorithm>
#include <cstring>

#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kBytesPerTask = 512;  // of places whose sums stay in the first-level cache

// Calls visit(place) for each bit that is set, in ascending order.
template <class Visit>
void visit_set_bits(const uint8_t* bits, int64_t n_bytes, const Visit& visit) {
    for (int64_t byte = 0; byte < n_bytes; byte += 8) {
        uint64_t word = 0;
        std::memcpy(&word, bits + byte, static_cast<size_t>(std::min<int64_t>(8, n_bytes - byte)));
        for (; word != 0; word &= word - 1) visit(8 * byte + __builtin_ctzll(word));
    }
}

}  // namespace

void average_precision(const PlaceBits& places, int threads, const std::function<bool()>& interrupted, int64_t* found, double* averages) {
    parallel_for(places.n_rows, threads, interrupted, [&](Job& job, int64_t row) {
        int64_t n_found = 0;
        double sum = 0;
        visit_set_bits(places.bits + row * places.n_bytes, places.n_bytes,
                       [&](int64_t place) { sum += static_cast<double>(++n_found) / static_cast<double>(place + 1); });
        found[row] = n_found;
        averages[row] = n_found > 0 ? sum / static_cast<double>(n_found) : 0;
        job.checkpoint(places.n_bytes + 2 * n_found);
    });
}

void weight_by_place(const PlaceBits& places, const double* weights, int threads, const std::function<bool()>& interrupted, double* sums) {
    parallel_for(ceil_div(places.n_bytes, kBytesPerTask), threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * kBytesPerTask, n_bytes = std::min(kBytesPerTask, places.n_bytes - first);
        double* const own = sums + 8 * first;
        std::fill_n(own, 8 * n_bytes, 0.0);
        for (int64_t row = 0; row < places.n_rows; ++row) {
            const double weight = weights[row];
            visit_set_bits(places.bits + row * places.n_bytes + first, n_bytes, [&](int64_t place) { own[place] += weight; });
            job.checkpoint(8 * n_bytes);
        }
    });
}

}  // namespace fasthash
