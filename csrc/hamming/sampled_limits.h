#pragma once

#include <cstdint>
#include <vector>

#include "search.h"

namespace fasthash {

// A distance that no code reaches.
inline uint64_t no_limit(const CodeSet& set) { return static_cast<uint64_t>(set.n_bits()) + 1; }

// Per query, a limit that almost surely at least k eligible codes are below, from a sample of the codes that is searched first. Without it
// a search for many hits among few codes spends most of its time on candidates that nearer ones displace later.
std::vector<uint64_t> sampled_limits(const CodeSet& set, const QuerySet& queries, int64_t k, const SearchOptions& options);

}  // namespace fasthash
