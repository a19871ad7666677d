#include "stored_codes.h"

#include <algorithm>
#include <cstring>

#include "../popcount.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "stored_queries.h"

namespace fasthash {

namespace {

constexpr int64_t kMaskBytes = kBlockCodes / 8;  // of a block
constexpr int64_t kGathered = 1024;              // codes of a task

// Calls visit(block, place, count, code) for the share of each block in n_codes codes from `first` on.
template <class Visit>
void each_block(int64_t first, int64_t n_codes, int threads, const std::function<bool()>& interrupted, const Visit& visit) {
    if (n_codes == 0) return;
    const int64_t first_block = first / kBlockCodes, end_block = ceil_div(first + n_codes, kBlockCodes);
    parallel_for(end_block - first_block, threads, interrupted, [&](Job& job, int64_t i) {
        const int64_t block = first_block + i, begin = std::max(first, block * kBlockCodes);
        const int64_t end = std::min(first + n_codes, (block + 1) * kBlockCodes);
        job.checkpoint(visit(block, begin % kBlockCodes, end - begin, begin - first));
    });
}

}  // namespace

StoredCodes::StoredCodes(const uint64_t* of_blocks, int64_t codes, int bytes, const uint8_t* mask, const PlanesKernel& of_kernel)
    : blocks(of_blocks), n_codes(codes), n_bytes(bytes), kernel(of_kernel), mask_(mask), n_eligible_(codes) {
    const int64_t n_last = n_codes % kBlockCodes, n_full = n_codes / kBlockCodes;
    if (n_last > 0) {
        last_mask_.assign(kMaskBytes, 0);
        const int64_t n_used = ceil_div(n_last, 8);
        for (int64_t i = 0; i < n_used; ++i) last_mask_[static_cast<size_t>(i)] = mask ? mask[n_full * kMaskBytes + i] : 0xff;
        if (n_last % 8 != 0) last_mask_[static_cast<size_t>(n_used - 1)] &= static_cast<uint8_t>((1 << n_last % 8) - 1);
    }
    if (mask) n_eligible_ = count_ones(mask, n_full * kMaskBytes) + count_ones(last_mask_.data(), static_cast<int64_t>(last_mask_.size()));
}

const uint8_t* StoredCodes::block_mask(int64_t i) const {
    if (i == n_codes / kBlockCodes) return last_mask_.data();
    return mask_ ? mask_ + i * kMaskBytes : nullptr;
}

void write_codes(const uint8_t* codes, int64_t n_codes, int n_bytes, int64_t first, const PlanesKernel& kernel, int threads,
                 const std::function<bool()>& interrupted, uint64_t* blocks) {
    const int n_bits = 8 * n_bytes;
    const StoredQueries queries = StoredQueries::every(n_bits);
    each_block(first, n_codes, threads, interrupted, [&](int64_t i, int64_t place, int64_t count, int64_t code) {
        uint64_t* const block = blocks + i * block_words(n_bits);
        StoredQueries every = queries;
        every.enter(block);
        kernel.write(codes + code * n_bytes, n_bits, place, count, every[0], block);
        return count * ceil_div(n_bits, 64);
    });
}

void read_codes(const uint64_t* blocks, int64_t n_codes, int n_bytes, int64_t first, const PlanesKernel& kernel, int threads,
                const std::function<bool()>& interrupted, uint8_t* codes) {
    const int n_bits = 8 * n_bytes;
    each_block(first, n_codes, threads, interrupted, [&](int64_t i, int64_t place, int64_t count, int64_t code) {
        kernel.read(blocks + i * block_words(n_bits), n_bits, place, count, codes + code * n_bytes);
        return count * ceil_div(n_bits, 64);
    });
}

void gather_codes(const uint64_t* blocks, const int64_t* positions, int64_t n_positions, int n_bytes, int threads,
                  const std::function<bool()>& interrupted, uint8_t* codes) {
    const PlaneLayout layout = block_layout(8 * n_bytes);
    parallel_for(ceil_div(n_positions, kGathered), threads, interrupted, [&](Job& job, int64_t task) {
        const int64_t end = std::min(n_positions, (task + 1) * kGathered);
        for (int64_t i = task * kGathered; i < end; ++i) {
            const int64_t place = positions[i] % kBlockCodes;
            const uint64_t* const words = blocks + positions[i] / kBlockCodes * layout.zeros + place / 64;
            uint8_t* const code = codes + i * n_bytes;
            for (int byte = 0; byte < n_bytes; ++byte) {
                unsigned value = 0;
                for (int bit = 0; bit < 8; ++bit)
                    value |= static_cast<unsigned>(words[(8 * byte + bit) * layout.plane_words] >> place % 64 & 1) << bit;
                code[byte] = static_cast<uint8_t>(value);
            }
        }
        job.checkpoint((end - task * kGathered) * n_bytes * 8);
    });
}

}  // namespace fasthash
