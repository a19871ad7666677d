#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../hamming/search.h"
#include "tables.h"

namespace fasthash {

// The codes of a set that are not in the tables yet. Their hits are items with the ids that they have in the set.
class UnlistedCodes {
public:
    UnlistedCodes(const Tables& tables, const CodeSet& all);

    HitLists nearest(const QuerySet& queries, int64_t k, const SearchOptions& options) const;
    HitLists within(const QuerySet& queries, int64_t radius, const SearchOptions& options) const;

private:
    const int64_t first_;
    std::vector<uint8_t> mask_bits_;
    std::unique_ptr<const Mask> mask_;
    CodeSet set_;
};

}  // namespace fasthash
