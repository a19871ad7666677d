#include "cost.h"

#include <algorithm>
#include <cmath>

#include "../rounding.h"

namespace fasthash {

namespace {

constexpr double kCache = 2 << 20;  // in bytes
constexpr double kEntryCost = 40;   // of placing an entry in a table

}  // namespace

ProbeCost::ProbeCost(const Tables& tables, const MultiIndexKernel& kernel) {
    // Every doubling of what does not fit the second-level cache makes a look-up wait longer.
    const double doublings = std::clamp(std::log2(static_cast<double>(tables.memory()) / kCache), 0.0, 10.0);
    const bool words = tables[0].words.get() != nullptr;
    probe = 4 + (words ? 2.7 : 1.5) * doublings;
    candidate = (words ? 1.3 : 5 + 1.2 * doublings) + kernel.popcount_cost;
}

double build_cost(int64_t n_codes, int64_t n_tables, int threads) {
    return kEntryCost * static_cast<double>(n_codes * ceil_div(n_tables, threads));
}

}  // namespace fasthash
