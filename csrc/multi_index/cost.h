#pragma once

#include "kernel.h"
#include "tables.h"

namespace fasthash {

// What the parts of a search cost, in nanoseconds of one thread. fasthash/index/README.md says how they were measured.
struct ProbeCost {
    double query = 500;  // to begin and to write the hits
    double step = 150;   // to go on to the next table or radius
    double probe;        // to look up a bucket
    double candidate;    // to compare with an entry

    ProbeCost(const Tables& tables, const MultiIndexKernel& kernel);
};

// The time that building takes.
double build_cost(int64_t n_codes, int64_t n_tables, int threads);

}  // namespace fasthash
