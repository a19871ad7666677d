#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "prober.h"

namespace fasthash {

// Whether there is any use in trying the tables for the queries, of which each has found `nothing` yet; else all are to be scanned.
bool worth_probing(const Tables& tables, const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options,
                   const FoundCodes& nothing);

// Calls probe(prober, query, job) for every query, for some of them again, and returns those to scan.
std::vector<int64_t> probe_queries(const Tables& tables, const CodeSet& set, int64_t n_queries, const MultiSearchOptions& options,
                                   const std::function<Outcome(Prober&, int64_t, Job&)>& probe);

}  // namespace fasthash
