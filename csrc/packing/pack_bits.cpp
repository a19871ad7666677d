#include "pack_bits.h"

#include <algorithm>
#include <atomic>

#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kElementsPerTask = 1 << 18;

}  // namespace

bool pack_bits(const Elements& elements, uint8_t* codes, const PackingKernel& kernel, int threads, const std::function<bool()>& interrupted) {
    const int64_t n = elements.n, n_bits = elements.n_bits, n_bytes = (n_bits + 7) / 8;
    const int64_t rows_per_task = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, n_bits));
    std::atomic<bool> nan{false};
    parallel_for((n + rows_per_task - 1) / rows_per_task, threads, [&](Job& job, int64_t task) {
        const int64_t first = task * rows_per_task, last = std::min(first + rows_per_task, n);
        const int64_t step = n_bits % 8 == 0 ? last - first : 1;  // rows of whole bytes are packed as one
        bool found = false;
        for (int64_t row = first; row < last; row += step) {
            const uint8_t* const x = elements.x + row * n_bits * elements.element_bytes;
            found |= kernel.pack(x, elements.element, step * n_bits, codes + row * n_bytes);
        }
        if (found) nan = true;
        job.checkpoint((last - first) * n_bits);
    }, interrupted);
    return nan;
}

}  // namespace fasthash
