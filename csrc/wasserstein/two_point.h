// Each level's file includes this one; the compiler's vectors are as wide as the registers of the level. Everything is in
// an anonymous namespace, so that no level's code can stand in for another's at link time.
#include "../registers.h"
#include "kernel.h"

namespace fasthash {
namespace {

template <class T>
struct Number;

template <>
struct Number<float> {
    using Count = int32_t;
    static constexpr int kSignShift = 31;
    static constexpr int32_t kMagnitude = INT32_MAX;
    static float power(float x, double p) { return __builtin_powf(x, static_cast<float>(p)); }
};

template <>
struct Number<double> {
    using Count = int64_t;
    static constexpr int kSignShift = 63;
    static constexpr int64_t kMagnitude = INT64_MAX;
    static double power(double x, double p) { return __builtin_pow(x, p); }
};

constexpr int64_t kRowsPerSum = 64;  // rows summed in T before they join a sum in double
constexpr int kInterpolations = 8;   // before every second step halves the interval of representable numbers

// The split of a block's columns at their n_low smallest values.
template <class T>
class TwoPoint {
    using Values = typename Register<T>::Values;
    using Integers = typename Register<T>::Integers;
    using Count = typename Number<T>::Count;

public:
    static void part(const TwoPointBlock<T>& block, TwoPointSplit& split) {
        TwoPoint columns(block);
        for (int lane = 0; lane < kLanes<T>; ++lane) columns.n_low_[lane] = static_cast<Count>(block.n_low[lane]);
        columns.partition();
        if (block.split > 0) columns.find_next();
        columns.exchange<true>(split);
    }

    static void rows(const TwoPointBlock<T>& block, TwoPointSplit& split, int64_t first, int64_t last) {
        TwoPoint columns(block);
        columns.exchange<false>(split);
        columns.cost_and_gradient(first, last);
        columns.exchange<true>(split);
    }

private:
    explicit TwoPoint(const TwoPointBlock<T>& block) : block_(block), x_(reinterpret_cast<const Values*>(block.x)) {}

    template <bool kStore>
    void exchange(TwoPointSplit& split) {
        exchange<kStore>(&threshold_, split.threshold);
        exchange<kStore>(&n_ties_, split.n_ties);
        exchange<kStore>(&next_, split.next);
        exchange<kStore>(&next_place_, split.next_place);
        exchange<kStore>(&seen_, split.seen);
        exchange<kStore>(&seen_next_, split.seen_next);
    }

    template <bool kStore>
    static void exchange(void* lanes, unsigned char* memory) {
        if (kStore) __builtin_memcpy(memory, lanes, FASTHASH_REGISTER_BYTES);
        else __builtin_memcpy(lanes, memory, FASTHASH_REGISTER_BYTES);
    }

    void cost_and_gradient(int64_t first, int64_t last) {
        if (block_.p == 2) return pass(Square{block_.scale + block_.scale}, first, last);
        if (block_.p == 1) return pass(Absolute{block_.scale}, first, last);
        pass(Power{block_.p, block_.scale * static_cast<T>(block_.p)}, first, last);
    }

    // |d|^p and its scaled derivative, for d = x - target.
    struct Square {
        T scale;
        Values cost(Values d) const { return d * d; }
        Values slope(Values d) const { return d * scale; }
    };
    struct Absolute {
        T scale;
        Values cost(Values d) const { return d < 0 ? -d : d; }
        Values slope(Values d) const {
            const Values zero = {}, one = zero + scale;
            return d > 0 ? one : (d < 0 ? -one : d);  // a NaN stays one
        }
    };
    struct Power {
        double p;
        T scale;
        Values cost(Values d) const { return powers(d < 0 ? -d : d, p); }
        Values slope(Values d) const {
            const Values magnitude = powers(d < 0 ? -d : d, p - 1) * scale;
            return d > 0 ? magnitude : (d < 0 ? -magnitude : d);
        }
        static Values powers(Values x, double exponent) {
            for (int lane = 0; lane < kLanes<T>; ++lane) x[lane] = Number<T>::power(x[lane], exponent);
            return x;
        }
    };

    static bool any(Integers truths) {
        int64_t found = 0;
        for (int lane = 0; lane < kLanes<T>; ++lane) found |= truths[lane];
        return found != 0;
    }

    Integers count_below(Values threshold) const {
        Integers counts[4] = {};
        int64_t i = 0;
        for (; i + 4 <= block_.n; i += 4) {
            for (int part = 0; part < 4; ++part) counts[part] -= x_[i + part] < threshold;
        }
        for (; i < block_.n; ++i) counts[0] -= x_[i] < threshold;
        return (counts[0] + counts[1]) + (counts[2] + counts[3]);
    }

    // Maps numbers to integers in the same order, and is its own inverse.
    static Integers ordered(Integers bits) { return bits ^ (bits >> Number<T>::kSignShift & Number<T>::kMagnitude); }

    // The number in the middle of those that T can represent between two.
    static Values halfway(Values a, Values b) {
        const Integers low = ordered((Integers)a), high = ordered((Integers)b);  // casts of vectors keep their bits
        return (Values)ordered((low & high) + ((low ^ high) >> 1));
    }

    static Values as_values(Integers counts) { return __builtin_convertvector(counts, Values); }

    // Finds for each column a threshold such that n_low values are below it or, where equal values do not allow that, the
    // value that the n_low-th has, and how many of those equal to it belong to the low ones. Only the partition is wanted,
    // so the search ends as soon as a count fits, mostly long before it has narrowed to one value.
    void partition() {
        Values low = x_[0], high = x_[0];
        for (int64_t i = 1; i < block_.n; ++i) {
            low = x_[i] < low ? x_[i] : low;
            high = x_[i] > high ? x_[i] : high;
        }
        Integers below_low = {}, below_high = below_low + static_cast<Count>(block_.n);
        Integers high_counted = {};  // whether below_high is known; until then it stands for "n are at most high"
        const Integers all = n_low_ == below_high;
        threshold_ = all ? high : low;
        n_ties_ = all ? n_low_ : Integers{};
        Integers done = all | (n_low_ == 0);
        for (int step = 0; any(~done); ++step) {
            const Values share = as_values(n_low_ - below_low) / as_values(below_high - below_low);
            const Values inside = share < T(0.02) ? share * 0 + T(0.02) : (share > T(0.98) ? share * 0 + T(0.98) : share);
            Values probe = low + inside * (high - low);
            const Values middle = halfway(low, high);
            const bool halve = step >= kInterpolations && step % 2 == 1;
            const Integers usable = (probe > low) & (probe < high) & (halve ? 0 : -1);
            probe = usable ? probe : middle;
            // Nothing lies between: the values from low on, below high, all equal low; or high itself is still to be counted.
            const Integers closed = ~((probe > low) & (probe < high));
            const Integers settled = closed & high_counted & ~done;
            threshold_ = settled ? low : threshold_;
            n_ties_ = settled ? n_low_ - below_low : n_ties_;
            done |= settled;
            probe = closed ? high : probe;

            const Integers counts = count_below(probe);
            const Integers exact = (counts == n_low_) & ~done;
            threshold_ = exact ? probe : threshold_;
            done |= exact;
            const Integers at_maximum = closed & ~high_counted & (counts < n_low_) & ~done;
            threshold_ = at_maximum ? high : threshold_;
            n_ties_ = at_maximum ? n_low_ - counts : n_ties_;
            done |= at_maximum;
            const Integers too_low = (counts < n_low_) & ~done, too_high = (counts > n_low_) & ~done;
            low = too_low ? probe : low;
            below_low = too_low ? counts : below_low;
            high = too_high ? probe : high;
            below_high = too_high ? counts : below_high;
            high_counted |= too_high;
        }
    }

    // Finds the smallest value that is not among the n_low, and which of those equal to it is the first.
    void find_next() {
        Integers equal = {}, none_above = ~Integers{};
        Values above = {};
        for (int64_t i = 0; i < block_.n; ++i) {
            equal -= x_[i] == threshold_;
            const Integers nearer = (x_[i] > threshold_) & (none_above | (x_[i] < above));
            above = nearer ? x_[i] : above;
            none_above &= ~nearer;
        }
        const Integers tied = equal > n_ties_;
        next_ = tied ? threshold_ : above;
        next_place_ = tied ? n_ties_ + 1 : Integers{} + 1;
    }

    template <class Loss>
    void pass(const Loss& loss, int64_t first, int64_t last) {
        const bool ties = any(n_ties_);
        if (block_.split > 0) return pass<true, true>(loss, first, last);
        if (ties) return pass<true, false>(loss, first, last);
        pass<false, false>(loss, first, last);
    }

    template <bool kTies, bool kSplit, class Loss>
    void pass(const Loss& loss, int64_t first_row, int64_t last_row) {
        const Values zero = {}, low = zero + block_.low, high = zero + block_.high;
        const T split = static_cast<T>(block_.split);
        Integers seen = seen_, seen_next = seen_next_;
        for (int64_t first = first_row; first < last_row; first += kRowsPerSum) {
            const int64_t last = first + kRowsPerSum < last_row ? first + kRowsPerSum : last_row;
            Values sum = {};
            for (int64_t i = first; i < last; ++i) {
                Integers is_low = x_[i] < threshold_;
                if (kTies) {
                    const Integers equal = x_[i] == threshold_;
                    seen -= equal;
                    is_low |= equal & (seen <= n_ties_);
                }
                const Values d = x_[i] - (is_low ? low : high);
                Values cost = loss.cost(d), slope = loss.slope(d);
                if (kSplit) {
                    const Integers equal = x_[i] == next_;
                    seen_next -= equal;
                    const Integers is_next = equal & (seen_next == next_place_);
                    const Values from_low = x_[i] - low, from_high = x_[i] - high;
                    cost = is_next ? loss.cost(from_low) * split + loss.cost(from_high) * (1 - split) : cost;
                    slope = is_next ? loss.slope(from_low) * split + loss.slope(from_high) * (1 - split) : slope;
                }
                sum += cost;
                if (block_.gradient) __builtin_memcpy(block_.gradient + i * block_.gradient_stride, &slope, sizeof slope);
            }
            for (int lane = 0; lane < kLanes<T>; ++lane) block_.cost[lane] += static_cast<double>(sum[lane]);
        }
        seen_ = seen;
        seen_next_ = seen_next;
    }

    const TwoPointBlock<T>& block_;
    const Values* x_;
    Integers n_low_ = {};
    Values threshold_ = {};
    Integers n_ties_ = {};
    Values next_ = {};
    Integers next_place_ = {};
    Integers seen_ = {}, seen_next_ = {};  // so many equal to the threshold and to next_ have been passed
};

template <class T>
TwoPointFunctions<T> two_point() {
    return {TwoPoint<T>::part, TwoPoint<T>::rows};
}

}  // namespace
}  // namespace fasthash
