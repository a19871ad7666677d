#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "buckets.h"
#include "code_rows.h"

namespace fasthash {

// For each code of one set the first one that equals it, itself where there is none before; empty if no code has an equal. Fills the blocks.
std::vector<uint32_t> find_originals(const CodeRows& rows, RowBlocks& blocks, int threads, const std::function<bool()>& interrupted);

}  // namespace fasthash
