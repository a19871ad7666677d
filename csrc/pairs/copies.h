#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "code_rows.h"

namespace fasthash {

// For each code of one set the first one that equals it, itself where there is none before; empty if no code has an equal.
std::vector<uint32_t> find_originals(const CodeRows& rows, int threads, const std::function<bool()>& interrupted);

}  // namespace fasthash
