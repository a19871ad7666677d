#include "stored_queries.h"

#include <algorithm>

#include "../hamming/plane_queries.h"
#include "../popcount.h"
#include "../rounding.h"

namespace fasthash {

namespace {

alignas(64) constexpr uint64_t kZeros[kPlaneLines * kLineWords] = {};

}  // namespace

StoredQueries::StoredQueries(int n_bits) : layout_(block_layout(n_bits)) {}

StoredQueries::StoredQueries(const QueryWords& words, int64_t n_queries, int n_bits) : StoredQueries(n_bits) {
    planes_.reserve(static_cast<size_t>(n_queries * (n_bits / 2 + layout_.block)));
    for (int64_t i = 0; i < n_queries; ++i) {
        int ones = 0;
        for (int64_t w = 0; w < ceil_div(n_bits, 64); ++w) ones += static_cast<int>(popcount(words[i][w]));
        add(words[i], 2 * ones > n_bits);
    }
    std::vector<bool> read(static_cast<size_t>(n_bits));
    for (const Chosen& chosen : chosen_) {
        for (int i = 0; i < chosen.n_planes; ++i) {
            read[static_cast<size_t>(planes_[chosen.first + static_cast<size_t>(i)] / layout_.plane_words)] = true;
        }
    }
    for (int64_t plane = 0; plane < block_planes(n_bits); ++plane) {
        if (plane >= n_bits || read[static_cast<size_t>(plane)]) planes_read_.push_back(plane * layout_.plane_words);
    }
}

StoredQueries StoredQueries::every(int n_bits) {
    StoredQueries queries(n_bits);
    queries.add(std::vector<uint64_t>(static_cast<size_t>(ceil_div(n_bits, 64))).data(), true);
    return queries;
}

void StoredQueries::add(const uint64_t* query, bool complement) {
    const size_t first = planes_.size();
    each_chosen_bit(query, layout_.n_bits, complement, [&](int bit) { planes_.push_back(bit * layout_.plane_words); });
    const int n_planes = static_cast<int>(planes_.size() - first);
    chosen_.push_back({first, plane_blocks(n_planes, layout_), n_planes, complement});
    planes_.resize(first + static_cast<size_t>(chosen_.back().blocks.n_planes));
}

void StoredQueries::enter(const uint64_t* block) {
    const int64_t zeros =
        (static_cast<int64_t>(reinterpret_cast<intptr_t>(kZeros)) - static_cast<int64_t>(reinterpret_cast<intptr_t>(block))) / 8;
    for (const Chosen& chosen : chosen_) {
        std::fill_n(planes_.begin() + static_cast<int64_t>(chosen.first) + chosen.n_planes, chosen.blocks.n_planes - chosen.n_planes,
                    zeros);
    }
}

StoredQuery StoredQueries::operator[](int64_t i) const {
    const Chosen& chosen = chosen_[static_cast<size_t>(i)];
    return {planes_.data() + chosen.first, chosen.blocks.n_blocks, chosen.blocks.n_small_blocks, chosen.n_planes, chosen.complement};
}

}  // namespace fasthash
