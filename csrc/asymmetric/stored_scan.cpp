#include "stored_scan.h"

#include "../popcount.h"

namespace fasthash {

namespace {

alignas(64) constexpr uint64_t kZeros[kPlaneLines * kLineWords] = {};

}  // namespace

int64_t WeightedStoredScan::zeros_of(const uint64_t* block) {
    return (static_cast<int64_t>(reinterpret_cast<intptr_t>(kZeros)) - static_cast<int64_t>(reinterpret_cast<intptr_t>(block))) / 8;
}

int64_t WeightedStoredScan::take(int64_t block, int64_t line, const uint64_t* marks, int64_t query, CandidateList& list) {
    const uint64_t* const planes = set_.block(block) + line * kLineWords;
    int64_t n_marked = 0;
    for (int64_t w = 0; w < kLineWords; ++w) n_marked += static_cast<int64_t>(popcount(marks[w]));
    if (n_marked >= kMany) set_.kernel.read(set_.block(block), n_bits_, line * kLineCodes, kLineCodes, rows_.data());
    for (int64_t w = 0; w < kLineWords; ++w) {
        for (uint64_t left = marks[w]; left != 0; left &= left - 1) {
            const int64_t bit = __builtin_ctzll(left), place = 64 * w + bit;
            if (n_marked >= kMany) {
                code_to_words(rows_.data() + place * set_.n_bytes, set_.n_bytes, code_.data(), 1);
            } else {
                std::fill(code_.begin(), code_.end(), 0);
                for (int plane = 0; plane < n_bits_; ++plane) {
                    code_[static_cast<size_t>(plane / 64)] |= (planes[plane * kPlaneLines * kLineWords + w] >> bit & 1) << plane % 64;
                }
            }
            const uint64_t distance = weighted_distance(code_.data(), set_.n_words(), queries_[query].words, queries_[query].n_columns);
            if (distance >= list.limit) continue;
            list.items[list.size++] = make_item(distance, static_cast<uint64_t>(block * kBlockCodes + line * kLineCodes + place));
            if (list.capacity - list.size < kTileGroup) list.full(list);
        }
    }
    return n_marked;
}

}  // namespace fasthash
