#pragma once

#include "code_set.h"
#include "kernel.h"

namespace fasthash {

// The set with its mask taken as costs least: eligible codes gathered, or every code compared and what is not eligible dropped.
CodeSet as_scanned(CodeSet set, int64_t n_queries, int threads, const HammingKernel& kernel);

// What a scan of that set costs for all the queries, in nanoseconds. fasthash/index/README.md says how it was measured.
double scan_cost(const CodeSet& set, int64_t n_queries, int threads, const HammingKernel& kernel);

}  // namespace fasthash
