#pragma once

#include <functional>

#include "kernel.h"

namespace fasthash {

// The kernel's functions on many ids, interruptible; what was added before an interrupt or a repeated id stays in the table.
int64_t insert_ids(const IdTable& table, const IdList& list, PositionBits kept, int64_t begin, const IdMapKernel& kernel,
                   const std::function<bool()>& interrupted);
void find_ids(const IdTable& table, const IdList& list, const int64_t* sought, int64_t n_sought, const IdMapKernel& kernel, int threads,
              const std::function<bool()>& interrupted, int64_t* positions);

}  // namespace fasthash
