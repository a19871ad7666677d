#include "id_map.h"

#include <algorithm>

#include "../rounding.h"
#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kPiece = 16384;  // ids
constexpr int64_t kNanosecondsAnId = 20;

}  // namespace

int64_t insert_ids(const IdTable& table, const IdList& list, PositionBits kept, int64_t begin, const IdMapKernel& kernel,
                   const std::function<bool()>& interrupted) {
    int64_t repeated = -1;
    parallel_for(1, 1, interrupted, [&](Job& job, int64_t) {
        for (; begin < list.n && repeated < 0; begin += kPiece) {
            repeated = kernel.insert(table, list, kept, begin, std::min(begin + kPiece, list.n));
            job.checkpoint(kPiece * kNanosecondsAnId);
        }
    });
    return repeated;
}

void find_ids(const IdTable& table, const IdList& list, const int64_t* sought, int64_t n_sought, const IdMapKernel& kernel, int threads,
              const std::function<bool()>& interrupted, int64_t* positions) {
    parallel_for(ceil_div(n_sought, kPiece), threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t first = task * kPiece;
        kernel.find(table, list, sought + first, std::min(kPiece, n_sought - first), positions + first);
        job.checkpoint(kPiece * kNanosecondsAnId);
    });
}

}  // namespace fasthash
