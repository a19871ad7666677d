#pragma once

#include <cstdint>

#include "cost.h"
#include "found_codes.h"
#include "tables.h"

namespace fasthash {

// What queries that are searched in turn may spend on the tables, in nanoseconds, before a scan is the better choice.
class ProbeBudget {
public:
    // For n_queries of them, a scan for each of which would cost scan_cost.
    ProbeBudget(const Tables& tables, const ProbeCost& cost, double scan_cost, int64_t n_queries);

    // Whether there is any use in trying, and whether there is none any more.
    bool affords(const FoundCodes& nothing) const { return allowance(nothing, 0) > 0; }
    bool exhausted() const { return credit_ < cost_.query + cost_of_step(0, mean_density_); }

    void begin_query();
    void end_query(bool given_up) { credit_ += given_up ? -spent_ : scan_cost_ - spent_; }

    // Returns whether the query may take the step, after what the steps before it have found.
    bool begin_step(const FoundCodes& found, int64_t step);

    // Counts look-ups and the entries that they led to, and returns what they cost.
    double spend(int64_t n_probes, int64_t n_candidates);
    bool overdrawn() const { return spent_ > allowed_; }

private:
    double cost_of_step(int64_t step, double density) const;
    double allowance(const FoundCodes& found, int64_t step) const;

    const Tables& tables_;
    const ProbeCost cost_;
    const double scan_cost_;
    const double mean_density_;  // entries that a look-up leads to, on average
    double credit_;              // what scans would have cost more than the searches so far, and what these may cost more in the end
    double spent_;               // on the query
    double allowed_ = 0;         // to be spent on the query by the end of the step
    double density_;             // entries that a look-up led to at the last radius
    int64_t n_probes_ = 0, n_candidates_ = 0;  // at this radius
};

}  // namespace fasthash
