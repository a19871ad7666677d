#include "copies.h"

#include <atomic>
#include <numeric>

#include "../thread_pool.h"
#include "parts.h"

namespace fasthash {

namespace {

bool equal(const Buckets& buckets, int n_words, int64_t a, int64_t b) {
    for (int w = 0; w < n_words; ++w) {
        const uint64_t* const plane = buckets.words() + w * buckets.stride();
        if (plane[a] != plane[b]) return false;
    }
    return true;
}

}  // namespace

std::vector<uint32_t> find_originals(const CodeRows& rows, RowBlocks& blocks, int threads, const std::function<bool()>& interrupted) {
    std::vector<uint32_t> originals(static_cast<size_t>(rows.n_ids()));
    std::iota(originals.begin(), originals.end(), 0);
    std::atomic<bool> any{false};
    blocks.fill(rows, 0, CodeHash(), threads, interrupted);
    Workplaces<Buckets> workplaces;
    parallel_for(blocks.n_blocks(), threads, interrupted, [&](Job& job, int64_t block) {
        Workplaces<Buckets>::Lent lent(workplaces);
        Buckets& buckets = *lent;
        buckets.fill(blocks, block, CodeHash());
        std::vector<int64_t> different;  // the first row of each code in the bucket
        buckets.each([&](int64_t begin, int64_t end) {
            different.clear();
            for (int64_t row = begin; row < end; ++row) {
                const auto same = std::find_if(different.begin(), different.end(),
                                               [&](int64_t other) { return equal(buckets, blocks.n_words(), row, other); });
                if (same == different.end()) {
                    different.push_back(row);
                } else {
                    originals[buckets.id(row)] = buckets.id(*same);
                    any.store(true, std::memory_order_relaxed);
                }
                job.checkpoint(10);
            }
        });
        job.checkpoint(buckets.n_rows() * 20);
    });
    if (!any.load()) return {};
    return originals;
}

}  // namespace fasthash
