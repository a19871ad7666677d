#include "sorted_cost.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "../rounding.h"
#include "../thread_pool.h"
#include "scalar.h"

namespace fasthash {

namespace {

constexpr int64_t kColumnsPerTask = 16;  // neighbours share cache lines
constexpr int64_t kElementsPerThread = 1 << 14;
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;

template <class T>
struct Item {
    Key<T> key;
    uint32_t row;
};

template <class T>
constexpr int64_t kRadixFrom = sizeof(T) == sizeof(float) ? 32 : 80;  // fewer values are faster to compare than to count

// A few neighbouring columns of a sample, column after column: they are copied in, sorted, and leave as their gradients.
template <class T>
class ColumnBlock {
public:
    ColumnBlock(const SampleColumns<T>& sample, int64_t first, int64_t width)
        : sample_(sample),
          first_(first),
          width_(width),
          values_(static_cast<size_t>(sample.n * width)),
          items_(static_cast<size_t>(sample.n)),
          spare_(items_.size()) {
        for (int64_t i = 0; i < sample.n; ++i) {
            const T* row = sample.x + i * sample.row_stride + first * sample.column_stride;
            for (int64_t j = 0; j < width; ++j) column(j)[i] = row[j * sample.column_stride];
        }
    }

    // Sorts the column, stably, and clears its values for a gradient.
    const Item<T>* sort(int64_t j) {
        T* values = column(j);
        for (int64_t i = 0; i < sample_.n; ++i) {
            items_[static_cast<size_t>(i)] = {key_of(values[i]), static_cast<uint32_t>(i)};
            values[i] = 0;
        }
        if (sample_.n < kRadixFrom<T>) {
            std::sort(items_.begin(), items_.end(),
                      [](const Item<T>& a, const Item<T>& b) { return a.key < b.key || (a.key == b.key && a.row < b.row); });
        } else {
            sort_by_digits();
        }
        return items_.data();
    }

    int64_t n() const { return sample_.n; }
    T* column(int64_t j) { return values_.data() + j * sample_.n; }

    void store_gradient(int64_t m) {
        if (!sample_.gradient) return;
        for (int64_t i = 0; i < sample_.n; ++i) {
            for (int64_t j = 0; j < width_; ++j) sample_.gradient[i * m + first_ + j] = column(j)[i];
        }
    }

private:
    void sort_by_digits() {
        std::array<std::array<uint32_t, kDigits>, sizeof(T)> counts = {};
        for (const Item<T>& item : items_) {
            for (size_t digit = 0; digit < sizeof(T); ++digit) ++counts[digit][digit_of(item, digit)];
        }
        for (size_t digit = 0; digit < sizeof(T); ++digit) {
            std::array<uint32_t, kDigits>& places = counts[digit];
            if (places[digit_of(items_[0], digit)] == items_.size()) continue;  // all alike
            uint32_t next = 0;
            for (uint32_t& place : places) {
                const uint32_t count = place;
                place = next;
                next += count;
            }
            for (const Item<T>& item : items_) spare_[places[digit_of(item, digit)]++] = item;
            items_.swap(spare_);
        }
    }

    static size_t digit_of(const Item<T>& item, size_t digit) { return item.key >> (kDigitBits * digit) & (kDigits - 1); }

    const SampleColumns<T>& sample_;
    const int64_t first_, width_;
    std::vector<T> values_;
    std::vector<Item<T>> items_, spare_;
};

// Sorts column j of both and returns the integral over [0, 1] of the loss of the difference of their quantile functions. The columns become
// its gradients times `scale`.
template <class T>
double transport_cost(ColumnBlock<T>& x, ColumnBlock<T>& y, int64_t j, const Loss& loss, double scale) {
    const Item<T>*const a = x.sort(j), *const b = y.sort(j);
    T* const gradient_x = x.column(j);
    T* const gradient_y = y.column(j);
    const double whole = static_cast<double>(x.n()) * static_cast<double>(y.n());
    // In units of 1 / whole of the mass, an element of x has y.n() and an element of y has x.n().
    int64_t left_of_a = y.n(), left_of_b = x.n();
    double sum = 0;
    for (int64_t i = 0, k = 0; i < x.n() && k < y.n();) {
        const int64_t mass = std::min(left_of_a, left_of_b);
        const double share = static_cast<double>(mass) / whole;
        const T d = value_of<T>(a[i].key) - value_of<T>(b[k].key);
        sum += share * loss.cost(d);
        const T slope = static_cast<T>(share * scale * loss.slope(d));
        gradient_x[a[i].row] += slope;
        gradient_y[b[k].row] -= slope;
        left_of_a -= mass;
        left_of_b -= mass;
        if (left_of_a == 0) ++i, left_of_a = y.n();
        if (left_of_b == 0) ++k, left_of_b = x.n();
    }
    return sum;
}

}  // namespace

template <class T>
double sorted_cost(const SampleColumns<T>& x, const SampleColumns<T>& y, int64_t m, double p, double scale, int threads,
                   const std::function<bool()>& interrupted) {
    std::vector<double> costs(static_cast<size_t>(m));
    threads = static_cast<int>(std::clamp<int64_t>((x.n + y.n) * m / kElementsPerThread, 1, threads));
    parallel_for(ceil_div(m, kColumnsPerTask), threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * kColumnsPerTask, width = std::min(kColumnsPerTask, m - first);
        ColumnBlock<T> block_x(x, first, width), block_y(y, first, width);
        for (int64_t j = 0; j < width; ++j) {
            costs[static_cast<size_t>(first + j)] = transport_cost(block_x, block_y, j, Loss{p}, scale);
            job.checkpoint((x.n + y.n) * 16);
        }
        block_x.store_gradient(m);
        block_y.store_gradient(m);
    });
    return std::accumulate(costs.begin(), costs.end(), 0.0);
}

template double sorted_cost(const SampleColumns<float>&, const SampleColumns<float>&, int64_t, double, double, int,
                            const std::function<bool()>&);
template double sorted_cost(const SampleColumns<double>&, const SampleColumns<double>&, int64_t, double, double, int,
                            const std::function<bool()>&);

}  // namespace fasthash
