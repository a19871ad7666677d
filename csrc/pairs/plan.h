#pragma once

#include <cstdint>
#include <optional>

#include "../hamming/kernel.h"
#include "code_rows.h"
#include "kernel.h"
#include "parts.h"

namespace fasthash {

constexpr int kCheapest = 0, kScan = -1;  // in place of a number of parts

// How pairs are to be found: by tables, into how many parts codes are cut for them, or if there is no scheme by the scan.
std::optional<Scheme> choose_scheme(const CodeRows& rows, int64_t radius, int n_parts, const PairsKernel& kernel,
                                    const HammingKernel& scan);

}  // namespace fasthash
