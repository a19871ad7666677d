#include "two_point_cost.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "../aligned_array.h"
#include "../thread_pool.h"
#include "scalar.h"

namespace fasthash {

namespace {

constexpr int64_t kElementsPerThread = 1 << 17;
constexpr int64_t kLongColumn = 1 << 14, kNarrow = 2;

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

}  // namespace

template <class T>
double two_point_cost(const TwoPointColumns<T>& columns, const WassersteinKernel& kernel, int threads,
                      const std::function<bool()>& interrupted) {
    const int64_t lanes = kernel.row_bytes / static_cast<int64_t>(sizeof(T)), n = columns.n, m = columns.m, n_blocks = (m + lanes - 1) / lanes;
    void (*const two_point)(const TwoPointBlock<T>&) = [&] {
        if constexpr (sizeof(T) == sizeof(float)) return kernel.two_point_float;
        else return kernel.two_point_double;
    }();
    std::vector<double> costs(static_cast<size_t>(n_blocks * lanes));
    threads = static_cast<int>(std::clamp<int64_t>(n * m / kElementsPerThread, 1, threads));
    parallel_for(n_blocks, threads, [&](Job& job, int64_t task) {
        const int64_t first = task * lanes, width = std::min<int64_t>(lanes, m - first);
        if (n >= kLongColumn && width <= kNarrow && 2 * width <= lanes) {
            for (int64_t column = first; column < first + width; ++column) costs[static_cast<size_t>(column)] = column_cost(columns, column);
            job.checkpoint(n * width * 10);
            return;
        }
        AlignedArray<T> x(n * lanes);
        for (int64_t i = 0; i < n; ++i) {
            const T* from = columns.x + i * columns.row_stride + first * columns.column_stride;
            T* to = x.get() + i * lanes;
            if (width == lanes && columns.column_stride == 1) {
                std::memcpy(to, from, static_cast<size_t>(kernel.row_bytes));
            } else {
                for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = lane < width ? from[lane * columns.column_stride] : T{0};
            }
        }
        int64_t n_low[kMaxRowBytes / sizeof(T)] = {};
        std::copy_n(columns.n_low + first, width, n_low);
        const bool direct = width == lanes;
        AlignedArray<T> spare(columns.gradient && !direct ? n * lanes : 0);
        T* gradient = columns.gradient ? (direct ? columns.gradient + first : spare.get()) : nullptr;
        two_point({x.get(), n, n_low, columns.split, static_cast<T>(columns.low), static_cast<T>(columns.high), columns.p,
                costs.data() + task * lanes, gradient, direct ? m : lanes, static_cast<T>(columns.scale)});
        if (gradient && !direct) {
            for (int64_t i = 0; i < n; ++i) std::copy_n(gradient + i * lanes, width, columns.gradient + i * m + first);
        }
        job.checkpoint(n * lanes);
    }, interrupted);
    double sum = 0;
    for (int64_t column = 0; column < m; ++column) sum += costs[static_cast<size_t>(column)];
    return sum;
}

template double two_point_cost(const TwoPointColumns<float>&, const WassersteinKernel&, int, const std::function<bool()>&);
template double two_point_cost(const TwoPointColumns<double>&, const WassersteinKernel&, int, const std::function<bool()>&);

}  // namespace fasthash
