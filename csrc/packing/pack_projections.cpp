#include "pack_projections.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>

#include "../aligned_array.h"
#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

// Projections at a time: few enough to stay in the second-level cache, in whole tiles of the matrix product at every level.
constexpr int64_t kBlockRows = 84, kBlockBits = 256;
constexpr int64_t kProductsPerTask = 1 << 24, kProductsPerNanosecond = 32;

}  // namespace

template <class T>
int64_t pack_projections(const Projections<T>& projections, uint8_t* codes, Multiply<T> multiply, const PackingKernel& kernel, int threads,
                         const std::function<bool()>& interrupted) {
    const auto& p = projections;
    const int64_t n = p.n, d = p.d, n_bits = p.n_bits, n_bytes = ceil_div(n_bits, 8);
    const Element element = sizeof(T) == sizeof(float) ? Element::float32 : Element::float64;
    std::vector<T> start(static_cast<size_t>(n_bits));
    if (p.offset) std::transform(p.offset, p.offset + n_bits, start.begin(), [](T value) { return -value; });

    const int64_t products_per_block = kBlockRows * std::min(n_bits, kBlockBits) * std::max<int64_t>(1, d);
    const int64_t rows_per_task = kBlockRows * std::max<int64_t>(1, kProductsPerTask / products_per_block);
    const int64_t bit_blocks = ceil_div(n_bits, kBlockBits), row_blocks = ceil_div(n, rows_per_task);
    constexpr int64_t none = std::numeric_limits<int64_t>::max();
    std::atomic<int64_t> first_nan{none};
    parallel_for(row_blocks * bit_blocks, threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t first_bit = task % bit_blocks * kBlockBits, bits = std::min(kBlockBits, n_bits - first_bit);
        const int64_t first_row = task / bit_blocks * rows_per_task, last_row = std::min(first_row + rows_per_task, n);
        AlignedArray<T> block(std::min(kBlockRows, last_row - first_row) * bits);
        T* const values = block.get();
        for (int64_t row = first_row; row < last_row; row += kBlockRows) {
            const int64_t rows = std::min(kBlockRows, last_row - row);
            multiply({rows, bits, d, p.x + row * p.x_row, p.x_row, p.x_column, p.hyperplanes + first_bit, n_bits, 1, T{1},
                      start.data() + first_bit, 0, values, bits});
            if (kernel.pack(values, element, rows, bits, codes + row * n_bytes + first_bit / 8, n_bytes)) {
                const int64_t place = std::find_if(values, values + rows * bits, [](T value) { return value != value; }) - values;
                const int64_t found = (row + place / bits) * n_bits + first_bit + place % bits;
                for (int64_t known = first_nan; found < known && !first_nan.compare_exchange_weak(known, found);) {}
            }
            job.checkpoint(rows * bits * d / kProductsPerNanosecond);
        }
    });
    return first_nan == none ? -1 : first_nan.load();
}

template int64_t pack_projections(const Projections<float>&, uint8_t*, Multiply<float>, const PackingKernel&, int,
                                  const std::function<bool()>&);
template int64_t pack_projections(const Projections<double>&, uint8_t*, Multiply<double>, const PackingKernel&, int,
                                  const std::function<bool()>&);

}  // namespace fasthash
