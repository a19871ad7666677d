// Where the columns of a block are parted; in an anonymous namespace and as wide as the level's registers.
#pragma once

#include "../registers.h"
#include "kernel.h"

namespace fasthash {
namespace {

template <class T>
bool any(typename Register<T>::Integers truths) {
    int64_t found = 0;
    for (int lane = 0; lane < kLanes<T>; ++lane) found |= truths[lane];
    return found != 0;
}

// Values below the threshold are low, and so are the first n_ties of those equal to it. Of the values equal to `next`, the one numbered
// next_place gives a share of its mass to `low`. How many equal to the one and the other have been passed, `seen` and seen_next say.
template <class T>
struct Partition {
    typename Register<T>::Values threshold = {};
    typename Register<T>::Integers n_ties = {};
    typename Register<T>::Values next = {};
    typename Register<T>::Integers next_place = {};
    typename Register<T>::Integers seen = {}, seen_next = {};
};

// Finds for each column a threshold such that n_low values are below it or, where equal values do not allow that, the
// value that the n_low-th has, and how many of those equal to it belong to the low ones. Only the partition is wanted,
// so the search ends as soon as a count fits, mostly long before it has narrowed to one value.
template <class T>
class PartitionSearch {
    using Values = typename Register<T>::Values;
    using Integers = typename Register<T>::Integers;
    using Count = typename Register<T>::Integer;

public:
    explicit PartitionSearch(const TwoPointBlock<T>& block) : x_(reinterpret_cast<const Values*>(block.x)), n_(block.n) {
        for (int lane = 0; lane < kLanes<T>; ++lane) n_low_[lane] = static_cast<Count>(block.n_low[lane]);
        low_ = high_ = x_[0];
        for (int64_t i = 1; i < n_; ++i) {
            low_ = x_[i] < low_ ? x_[i] : low_;
            high_ = x_[i] > high_ ? x_[i] : high_;
        }
        below_high_ = below_low_ + static_cast<Count>(n_);
        const Integers all = n_low_ == below_high_;
        found_.threshold = all ? high_ : low_;
        found_.n_ties = all ? n_low_ : Integers{};
        done_ = all | (n_low_ == 0);
    }

    Partition<T> run(bool with_next) {
        for (int step = 0; any<T>(~done_); ++step) {
            const Values probe = next_probe(step >= kInterpolations && step % 2 == 1);
            // Nothing lies between: the values from low on, below high, all equal low; or high itself is still to be counted.
            const Integers closed = ~((probe > low_) & (probe < high_));
            settle(closed & high_counted_, low_, n_low_ - below_low_);
            narrow(closed ? high_ : probe, closed);
        }
        if (with_next) find_next();
        return found_;
    }

private:
    static constexpr int kInterpolations = 8;  // before every second step halves the interval of representable numbers

    // Where to count next: by interpolation on the counts, or in the middle of the numbers that T can represent.
    Values next_probe(bool halve) const {
        const Values share = as_values(n_low_ - below_low_) / as_values(below_high_ - below_low_);
        const Values inside = share < T(0.02) ? share * 0 + T(0.02) : (share > T(0.98) ? share * 0 + T(0.98) : share);
        const Values probe = low_ + inside * (high_ - low_);
        const Integers usable = (probe > low_) & (probe < high_) & (halve ? 0 : -1);
        return usable ? probe : halfway(low_, high_);
    }

    void narrow(Values probe, Integers closed) {
        const Integers counts = count_below(probe);
        settle(counts == n_low_, probe, Integers{});
        settle(closed & ~high_counted_ & (counts < n_low_), high_, n_low_ - counts);
        const Integers too_low = (counts < n_low_) & ~done_, too_high = (counts > n_low_) & ~done_;
        low_ = too_low ? probe : low_;
        below_low_ = too_low ? counts : below_low_;
        high_ = too_high ? probe : high_;
        below_high_ = too_high ? counts : below_high_;
        high_counted_ |= too_high;
    }

    // Ends the search of some columns.
    void settle(Integers columns, Values threshold, Integers n_ties) {
        columns &= ~done_;
        found_.threshold = columns ? threshold : found_.threshold;
        found_.n_ties = columns ? n_ties : found_.n_ties;
        done_ |= columns;
    }

    // Finds the smallest value that is not among the n_low, and which of those equal to it is the first.
    void find_next() {
        const Values threshold = found_.threshold;
        Integers equal = {}, none_above = ~Integers{};
        Values above = {};
        for (int64_t i = 0; i < n_; ++i) {
            equal -= x_[i] == threshold;
            const Integers nearer = (x_[i] > threshold) & (none_above | (x_[i] < above));
            above = nearer ? x_[i] : above;
            none_above &= ~nearer;
        }
        const Integers tied = equal > found_.n_ties;
        found_.next = tied ? threshold : above;
        found_.next_place = tied ? found_.n_ties + 1 : Integers{} + 1;
    }

    Integers count_below(Values threshold) const {
        Integers counts[4] = {};
        int64_t i = 0;
        for (; i + 4 <= n_; i += 4) {
            for (int part = 0; part < 4; ++part) counts[part] -= x_[i + part] < threshold;
        }
        for (; i < n_; ++i) counts[0] -= x_[i] < threshold;
        return (counts[0] + counts[1]) + (counts[2] + counts[3]);
    }

    // Maps numbers to integers in the same order, and is its own inverse.
    static Integers ordered(Integers bits) {
        constexpr int kSignShift = 8 * static_cast<int>(sizeof(T)) - 1;
        constexpr Count kMagnitude = sizeof(T) == sizeof(float) ? static_cast<Count>(INT32_MAX) : static_cast<Count>(INT64_MAX);
        return bits ^ (bits >> kSignShift & kMagnitude);
    }

    // The number in the middle of those that T can represent between two.
    static Values halfway(Values a, Values b) {
        const Integers low = ordered((Integers)a), high = ordered((Integers)b);  // casts of vectors keep their bits
        return (Values)ordered((low & high) + ((low ^ high) >> 1));
    }

    static Values as_values(Integers counts) { return __builtin_convertvector(counts, Values); }

    const Values* const x_;
    const int64_t n_;
    Integers n_low_ = {};
    Values low_, high_;
    Integers below_low_ = {}, below_high_;
    Integers high_counted_ = {};  // whether below_high_ is known; until then it stands for "n are at most high"
    Integers done_;
    Partition<T> found_;
};

}  // namespace
}  // namespace fasthash
