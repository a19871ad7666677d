// Each level's file includes this one; the compiler's vectors are as wide as the registers of the level. Everything is in
// an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../registers.h"
#include "kernel.h"
#include "two_point_losses.h"
#include "two_point_partition.h"

namespace fasthash {
namespace {

// The cost and gradient of rows of a block whose columns are parted.
template <class T>
class CostPass {
    using Values = typename Register<T>::Values;
    using Integers = typename Register<T>::Integers;

public:
    CostPass(const TwoPointBlock<T>& block, Partition<T>& partition)
        : block_(block), x_(reinterpret_cast<const Values*>(block.x)), partition_(partition) {}

    void run(int64_t first, int64_t last) {
        if (block_.p == 2) return run(Square<T>{block_.scale}, first, last);
        if (block_.p == 1) return run(Absolute<T>{block_.scale}, first, last);
        run(Power<T>{block_.p, block_.scale}, first, last);
    }

private:
    static constexpr int64_t kRowsPerSum = 64;  // rows summed in T before they join a sum in double

    template <class Loss>
    void run(const Loss& loss, int64_t first, int64_t last) {
        if (block_.split > 0) return run<true, true>(loss, first, last);
        if (any<T>(partition_.n_ties)) return run<true, false>(loss, first, last);
        run<false, false>(loss, first, last);
    }

    template <bool kTies, bool kSplit, class Loss>
    void run(const Loss& loss, int64_t first_row, int64_t last_row) {
        const Values zero = {}, low = zero + block_.low, high = zero + block_.high;
        const T split = static_cast<T>(block_.split);
        Partition<T> partition = partition_;
        for (int64_t first = first_row; first < last_row; first += kRowsPerSum) {
            const int64_t last = first + kRowsPerSum < last_row ? first + kRowsPerSum : last_row;
            Values sum = {};
            for (int64_t i = first; i < last; ++i) {
                Integers is_low = x_[i] < partition.threshold;
                if (kTies) {
                    const Integers equal = x_[i] == partition.threshold;
                    partition.seen -= equal;
                    is_low |= equal & (partition.seen <= partition.n_ties);
                }
                const Values d = x_[i] - (is_low ? low : high);
                Values cost = loss.cost(d), slope = loss.slope(d);
                if (kSplit) {
                    const Integers equal = x_[i] == partition.next;
                    partition.seen_next -= equal;
                    const Integers is_next = equal & (partition.seen_next == partition.next_place);
                    const Values from_low = x_[i] - low, from_high = x_[i] - high;
                    cost = is_next ? loss.cost(from_low) * split + loss.cost(from_high) * (1 - split) : cost;
                    slope = is_next ? loss.slope(from_low) * split + loss.slope(from_high) * (1 - split) : slope;
                }
                sum += cost;
                if (block_.gradient) __builtin_memcpy(block_.gradient + i * block_.gradient_stride, &slope, sizeof slope);
            }
            for (int lane = 0; lane < kLanes<T>; ++lane) block_.cost[lane] += static_cast<double>(sum[lane]);
        }
        partition_ = partition;
    }

    const TwoPointBlock<T>& block_;
    const Values* const x_;
    Partition<T>& partition_;
};

template <class T>
void part(const TwoPointBlock<T>& block, TwoPointSplit& split) {
    static_assert(sizeof(Partition<T>) <= sizeof split.registers);
    const Partition<T> partition = PartitionSearch<T>(block).run(block.split > 0);
    __builtin_memcpy(split.registers, &partition, sizeof partition);
}

template <class T>
void rows(const TwoPointBlock<T>& block, TwoPointSplit& split, int64_t first, int64_t last) {
    Partition<T> partition;
    __builtin_memcpy(&partition, split.registers, sizeof partition);
    CostPass<T>(block, partition).run(first, last);
    __builtin_memcpy(split.registers, &partition, sizeof partition);
}

template <class T>
TwoPointFunctions<T> two_point() {
    return {part<T>, rows<T>};
}

}  // namespace
}  // namespace fasthash
