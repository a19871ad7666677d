#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "prober.h"

namespace fasthash {

// Whether there is any use in trying the tables for the queries, of which each has found `nothing` yet; else all are to be scanned.
bool worth_probing(const Tables& tables, const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options,
                   const FoundCodes& nothing);

// Searches the tables for a query.
using ProbeQuery = std::function<Outcome(Prober&, int64_t query, Job&)>;

// Calls for every query, for some of them again, what begin_task() has returned for the task it is in, and returns those to scan.
std::vector<int64_t> probe_queries(const Tables& tables, const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options,
                                   const std::function<ProbeQuery()>& begin_task);

}  // namespace fasthash
