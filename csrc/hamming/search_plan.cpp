#include "search_plan.h"

#include <algorithm>

#include "../rounding.h"

namespace fasthash {

namespace {

constexpr int64_t kMinQueryBlock = 64;  // below, making a tile costs as much as scanning it
constexpr int64_t kMinCodesPerTask = 65536;
constexpr int64_t kTasksPerThread = 4;

}  // namespace

SearchPlan::SearchPlan(int64_t queries, int64_t codes, int threads, int64_t unit, int64_t max_query_block, int64_t max_ranges)
    : n_queries(queries), n_codes(codes) {
    const int64_t wanted_tasks = threads == 1 ? 1 : threads * kTasksPerThread;
    const int64_t even_block = std::max(ceil_div(n_queries, threads), kMinQueryBlock);
    query_block = std::max<int64_t>(1, std::min({even_block, max_query_block, n_queries}));
    n_blocks = ceil_div(n_queries, query_block);
    const int64_t most_ranges = std::min(max_ranges, std::max<int64_t>(1, n_codes / kMinCodesPerTask));
    n_ranges = std::clamp<int64_t>(ceil_div(wanted_tasks, std::max<int64_t>(1, n_blocks)), 1, most_ranges);
    codes_per_range = round_up(ceil_div(n_codes, n_ranges), unit);
    n_ranges = std::max<int64_t>(1, ceil_div(n_codes, std::max<int64_t>(1, codes_per_range)));
}

SearchShare::SearchShare(const SearchPlan& plan, int64_t task)
    : range(task % plan.n_ranges),
      first_query(task / plan.n_ranges * plan.query_block),
      last_query(std::min(first_query + plan.query_block, plan.n_queries)),
      first_code(range * plan.codes_per_range),
      last_code(std::min(first_code + plan.codes_per_range, plan.n_codes)) {}

}  // namespace fasthash
