#include "pack_bits.h"

#include <algorithm>
#include <atomic>

#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kElementsPerTask = 1 << 18;

}  // namespace

bool pack_bits(const Elements& elements, uint8_t* codes, const PackingKernel& kernel, int threads,
               const std::function<bool()>& interrupted) {
    const int64_t n = elements.n, n_bits = elements.n_bits, n_bytes = ceil_div(n_bits, 8);
    const int64_t rows_per_task = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, n_bits));
    std::atomic<bool> nan{false};
    parallel_for(ceil_div(n, rows_per_task), threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * rows_per_task, last = std::min(first + rows_per_task, n);
        const uint8_t* const x = elements.x + first * n_bits * elements.element_bytes;
        if (kernel.pack(x, elements.element, last - first, n_bits, codes + first * n_bytes, n_bytes)) nan = true;
        job.checkpoint((last - first) * n_bits);
    });
    return nan;
}

}  // namespace fasthash
