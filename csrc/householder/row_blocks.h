#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

// Blocks of rows, on several threads.
struct RowBlocks {
    int threads;
    int64_t row_work;  // as Job::checkpoint counts it
    const std::function<bool()>& interrupted;

    // Calls work(first, rows) for each block of `whole` rows.
    template <class F>
    void for_each(int64_t whole, int64_t block, const F& work) const {
        parallel_for(ceil_div(whole, block), threads, interrupted, [&](Job& job, int64_t task) {
            const int64_t rows = std::min(block, whole - task * block);
            work(task * block, rows);
            job.checkpoint(rows * row_work);
        });
    }
};

}  // namespace fasthash
