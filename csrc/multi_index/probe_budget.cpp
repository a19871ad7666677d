#include "probe_budget.h"

#include <algorithm>

namespace fasthash {

namespace {

// Of the cost of scans, what may be spent in vain, and what the rest of a search may cost by the estimate.
constexpr double kTrial = 0.025;
constexpr double kWorthwhile = 0.8;

}  // namespace

ProbeBudget::ProbeBudget(const Tables& tables, const ProbeCost& cost, double scan_cost, int64_t n_queries)
    : tables_(tables),
      cost_(cost),
      scan_cost_(scan_cost),
      mean_density_(static_cast<double>(tables.n_codes()) / static_cast<double>(int64_t{1} << tables[0].width)),
      credit_(kTrial * scan_cost * static_cast<double>(n_queries)),
      spent_(cost.query),
      density_(mean_density_) {}

void ProbeBudget::begin_query() {
    spent_ = cost_.query;
    density_ = mean_density_;
    n_probes_ = n_candidates_ = 0;
}

bool ProbeBudget::begin_step(const FoundCodes& found, int64_t step) {
    if (step % tables_.size() == 0 && step > 0) {
        density_ = static_cast<double>(n_candidates_) / static_cast<double>(n_probes_);
        n_probes_ = n_candidates_ = 0;
    }
    allowed_ = allowance(found, step);
    if (allowed_ == 0) return false;
    spent_ += cost_.step;
    return true;
}

double ProbeBudget::spend(int64_t n_probes, int64_t n_candidates) {
    n_probes_ += n_probes;
    n_candidates_ += n_candidates;
    const double cost = static_cast<double>(n_probes) * cost_.probe + static_cast<double>(n_candidates) * cost_.candidate;
    spent_ += cost;
    return cost;
}

double ProbeBudget::cost_of_step(int64_t step, double density) const {
    return cost_.step + tables_.probes_at(step) * (cost_.probe + density * cost_.candidate);
}

// What may be spent on the query by the end of a step; 0: a scan is the better choice.
double ProbeBudget::allowance(const FoundCodes& found, int64_t step) const {
    if (credit_ < 0) return 0;
    const int64_t reach = tables_.step_after(step, (kWorthwhile * scan_cost_ - spent_) / (cost_.probe + density_ * cost_.candidate)) - 1;
    if (found.bounded() && static_cast<int64_t>(found.limit()) <= reach) return scan_cost_;
    if (found.all() || reach < step || found.beyond(tables_, step, reach)) return 0;
    const double most = std::min(credit_, scan_cost_);
    return spent_ + cost_of_step(step, density_) <= most ? most : 0;
}

}  // namespace fasthash
