#include "plane_queries.h"

#include "../popcount.h"
#include "../rounding.h"

namespace fasthash {

PlaneQueries::PlaneQueries(const QueryWords& words, int64_t n_queries, const PlaneLayout& layout) : words_(words), layout_(layout) {
    const int n_words = static_cast<int>(ceil_div(layout.n_bits, 64));
    planes_.reserve(static_cast<size_t>((n_queries + 2) * (layout.n_bits / 2 + layout.block)));
    for (int64_t i = 0; i < n_queries; ++i) {
        int ones = 0;
        for (int w = 0; w < n_words; ++w) ones += static_cast<int>(popcount(words[i][w]));
        add(words[i], 2 * ones > layout.n_bits);
    }
    const std::vector<uint64_t> none(static_cast<size_t>(n_words));
    add(none.data(), true);
}

void PlaneQueries::add(const uint64_t* query, bool complement) {
    const size_t first = planes_.size();
    each_chosen_bit(query, layout_.n_bits, complement,
                    [&](int bit) { planes_.push_back(static_cast<uint16_t>(bit * layout_.plane_words)); });
    const int n_planes = static_cast<int>(planes_.size() - first);
    const PlaneBlocks blocks = plane_blocks(n_planes, layout_);
    planes_.resize(first + static_cast<size_t>(blocks.n_planes), static_cast<uint16_t>(layout_.zeros));
    chosen_.push_back({first, blocks.n_blocks, blocks.n_small_blocks, n_planes, complement});
}

PlaneQuery PlaneQueries::query(const uint64_t* words, const Chosen& chosen) const {
    return {words, planes_.data() + chosen.first, chosen.n_blocks, chosen.n_small_blocks, chosen.n_planes, chosen.complement};
}

PlaneQuery PlaneQueries::operator[](int64_t i) const { return query(words_[i], chosen_[static_cast<size_t>(i)]); }

PlaneQuery PlaneQueries::every() const { return query(nullptr, chosen_.back()); }

}  // namespace fasthash
