#include "found_codes.h"

#include <algorithm>
#include <cmath>

namespace fasthash {

bool FoundCodes::beyond(const Tables& tables, int64_t step, int64_t distance) const {
    distance = std::min(distance, static_cast<int64_t>(limit_));
    double within = 0;
    for (int64_t d = 0; d <= distance; ++d) within += static_cast<double>(counts_[static_cast<size_t>(d)]);
    return within + 2 * std::sqrt(within) + 4 < static_cast<double>(k_) * tables.share_found(step, distance);
}

std::vector<uint64_t>& FoundCodes::sorted() {
    if (!all() && static_cast<int64_t>(items_.size()) > k_) cut();
    std::sort(items_.begin(), items_.end());
    return items_;
}

void FoundCodes::cut() {
    std::nth_element(items_.begin(), items_.begin() + (k_ - 1), items_.end());
    items_.resize(static_cast<size_t>(k_));
}

}  // namespace fasthash
