#include "two_point_cost.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "../aligned_array.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "scalar.h"

namespace fasthash {

namespace {

constexpr int64_t kElementsPerThread = 1 << 17;
constexpr int64_t kLongColumn = 1 << 14, kNarrow = 2;
constexpr int64_t kBlocksPerGroup = 4, kRowsAtOnce = 64, kGroupBytes = 1 << 25;

// One column by itself, by quickselect: for long columns that would leave most lanes of a block empty.
template <class T>
double column_cost(const TwoPointColumns<T>& columns, int64_t column) {
    const T* x = columns.x + column * columns.column_stride;
    std::vector<Key<T>> keys(static_cast<size_t>(columns.n));
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = key_of(x[static_cast<int64_t>(i) * columns.row_stride]);
    const int64_t n_low = columns.n_low[column];
    const auto between = keys.begin() + std::min(n_low, columns.n - 1);  // the first that is not low, if there is one
    std::nth_element(keys.begin(), between, keys.end());
    const Key<T> threshold = *between;
    int64_t n_ties = n_low - std::count_if(keys.begin(), between, [&](Key<T> key) { return key < threshold; });

    const Loss loss{columns.p};
    double sum = 0;
    for (int64_t i = 0; i < columns.n; ++i) {
        const T value = x[i * columns.row_stride];
        const Key<T> key = key_of(value);
        double share = key < threshold;  // of the mass that goes to `low`
        if (key == threshold) {
            share = n_ties > 0 ? 1 : (n_ties == 0 ? columns.split : 0);
            --n_ties;
        }
        double slope = 0;
        for (const auto& [mass, target] : {std::pair{share, columns.low}, std::pair{1 - share, columns.high}}) {
            if (mass == 0) continue;
            sum += mass * loss.cost(value - target);
            slope += mass * loss.slope(value - target);
        }
        if (columns.gradient) columns.gradient[i * columns.m + column] = static_cast<T>(slope * columns.scale);
    }
    return sum;
}

// Neighbouring blocks of columns, copied into the cache. They are read and written together, some rows at a time, because
// memory comes in more than the 64 bytes that a row of one block has.
template <class T>
class ColumnGroup {
public:
    ColumnGroup(const TwoPointColumns<T>& columns, int64_t first, int64_t end, int64_t lanes)
        : columns_(columns),
          first_(first),
          lanes_(lanes),
          n_blocks_(ceil_div(end - first, lanes)),
          partial_((end - first) % lanes),
          x_(columns.n * n_blocks_ * lanes),
          n_low_(static_cast<size_t>(n_blocks_ * lanes)),
          splits_(n_blocks_),
          partial_gradient_(columns.gradient && partial_ > 0 ? columns.n * lanes : 0) {
        std::copy_n(columns.n_low + first, end - first, n_low_.begin());
        for (int64_t i = 0; i < columns.n; ++i) {
            for (int64_t block = 0; block < n_blocks_; ++block) copy_row(i, block);
        }
    }

    int64_t size() const { return n_blocks_; }
    TwoPointSplit& split(int64_t block) { return splits_.get()[block]; }

    TwoPointBlock<T> block(int64_t i, double* cost) {
        const bool in_place = width(i) == lanes_;
        T* const gradient = !columns_.gradient ? nullptr : in_place ? columns_.gradient + first_ + i * lanes_ : partial_gradient_.get();
        return {x(i),
                columns_.n,
                n_low_.data() + i * lanes_,
                columns_.split,
                static_cast<T>(columns_.low),
                static_cast<T>(columns_.high),
                columns_.p,
                cost,
                gradient,
                in_place ? columns_.m : lanes_,
                static_cast<T>(columns_.scale)};
    }

    void store_partial_gradient() {
        if (!columns_.gradient || partial_ == 0) return;
        T* to = columns_.gradient + first_ + (n_blocks_ - 1) * lanes_;
        for (int64_t i = 0; i < columns_.n; ++i) std::copy_n(partial_gradient_.get() + i * lanes_, partial_, to + i * columns_.m);
    }

private:
    T* x(int64_t block) { return x_.get() + block * columns_.n * lanes_; }
    int64_t width(int64_t block) const { return block == n_blocks_ - 1 && partial_ > 0 ? partial_ : lanes_; }

    void copy_row(int64_t row, int64_t block) {
        const T* from = columns_.x + row * columns_.row_stride + (first_ + block * lanes_) * columns_.column_stride;
        T* const to = x(block) + row * lanes_;
        const int64_t n = width(block);
        if (n == lanes_ && columns_.column_stride == 1) {
            std::memcpy(to, from, static_cast<size_t>(lanes_) * sizeof(T));
        } else {
            for (int64_t lane = 0; lane < lanes_; ++lane) to[lane] = lane < n ? from[lane * columns_.column_stride] : T{0};
        }
    }

    const TwoPointColumns<T>& columns_;
    const int64_t first_, lanes_, n_blocks_, partial_;
    AlignedArray<T> x_;
    std::vector<int64_t> n_low_;
    AlignedArray<TwoPointSplit> splits_;
    AlignedArray<T> partial_gradient_;
};

}  // namespace

template <class T>
double two_point_cost(const TwoPointColumns<T>& columns, const WassersteinKernel& kernel, int threads,
                      const std::function<bool()>& interrupted) {
    const int64_t lanes = kernel.row_bytes / static_cast<int64_t>(sizeof(T)), n = columns.n, m = columns.m, n_blocks = ceil_div(m, lanes);
    const TwoPointFunctions<T>& two_point = kernel.two_point.of<T>();
    std::vector<double> costs(static_cast<size_t>(n_blocks * lanes));
    threads = static_cast<int>(std::clamp<int64_t>(n * m / kElementsPerThread, 1, threads));
    const int64_t room = std::max<int64_t>(1, kGroupBytes / (n * kernel.row_bytes));
    const int64_t group = std::min({kBlocksPerGroup, room, ceil_div(n_blocks, threads)});
    parallel_for(ceil_div(n_blocks, group), threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * group * lanes, end = std::min(m, first + group * lanes), left_over = (end - first) % lanes;
        const bool alone = n >= kLongColumn && left_over > 0 && left_over <= kNarrow && 2 * left_over <= lanes;
        const int64_t end_of_blocks = alone ? end - left_over : end;
        for (int64_t column = end_of_blocks; column < end; ++column) {
            costs[static_cast<size_t>(column)] = column_cost(columns, column);
            job.checkpoint(n * 10);
        }
        ColumnGroup<T> blocks(columns, first, end_of_blocks, lanes);
        for (int64_t i = 0; i < blocks.size(); ++i) {
            two_point.part(blocks.block(i, costs.data() + first + i * lanes), blocks.split(i));
            job.checkpoint(n * lanes);
        }
        for (int64_t row = 0; row < n; row += kRowsAtOnce) {
            const int64_t last = std::min(n, row + kRowsAtOnce);
            for (int64_t i = 0; i < blocks.size(); ++i) {
                two_point.rows(blocks.block(i, costs.data() + first + i * lanes), blocks.split(i), row, last);
            }
        }
        blocks.store_partial_gradient();
    });
    double sum = 0;
    for (int64_t column = 0; column < m; ++column) sum += costs[static_cast<size_t>(column)];
    return sum;
}

template double two_point_cost(const TwoPointColumns<float>&, const WassersteinKernel&, int, const std::function<bool()>&);
template double two_point_cost(const TwoPointColumns<double>&, const WassersteinKernel&, int, const std::function<bool()>&);

}  // namespace fasthash
