#include "plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "code_sample.h"

namespace fasthash {

namespace {

// In nanoseconds of one thread; fasthash/ops/pairs/README.md says how they were measured.
constexpr double kRowCost = 7, kRowPartCost = 2, kRowWordCost = 2.5;  // of listing a row in a table
constexpr double kRowCompared = 3;                                    // of a row that is compared with any
constexpr double kScanShare = 0.5;                                    // of its kernel's cost of a comparison, on bit planes

constexpr double kDealCost = 3;  // of a bit, for a part and 64 pairs of the sample

constexpr double kMostTables = 4096;
constexpr int kMostAgreeing = 6;
constexpr double kWorthDealing = 0.8;  // of the cost with runs of bits, that with parts as even as they can be

double choose(int n, int k) {
    double ways = 1;
    for (int i = 0; i < k; ++i) ways *= static_cast<double>(n - i) / (i + 1);
    return ways;
}

// The scheme that makes tables cheapest, of runs of bits or of bits that are dealt where those are uneven.
class Chooser {
public:
    // `deal_cost` is that of a bit, for a part and 64 pairs of the sample, in nanoseconds.
    Chooser(const CodeRows& rows, const PairsKernel& kernel, double deal_cost)
        : rows_(rows),
          deal_cost_(deal_cost),
          n_bits_(8 * rows.n_bytes),
          n_(static_cast<double>(rows.size())),
          n_words_(rows.n_words()),
          comparison_cost_(kernel.comparison_cost) {}

    double n_pairs() const {
        if (rows_.two_sets) return static_cast<double>(rows_.n_codes) * static_cast<double>(rows_.n_others);
        const double before = static_cast<double>(rows_.before(rows_.since));
        return (n_ * (n_ - 1) - before * (before - 1)) / 2;
    }

    // The scheme of so many parts, if it costs less than that; its cost is then what `least` is.
    std::optional<Scheme> cheaper(int n_parts, int agreeing, double& least) {
        if (cost(n_parts, agreeing, evenly(n_bits_, n_parts, agreeing)) >= least) return std::nullopt;
        if (!sample_) sample_.emplace(rows_, 0.0);
        Scheme scheme = runs_of_bits(rows_.n_bytes, n_parts, agreeing);
        double of_scheme = cost(n_parts, agreeing, sample_->meetings(scheme));
        const double even = cost(n_parts, agreeing, evenly(sample_->information(), n_parts, agreeing));
        const double dealing = deal_cost_ * sample_->n_pairs() / 64 * n_bits_ * n_parts;
        if (even < kWorthDealing * of_scheme && even + dealing < std::min(of_scheme, least)) {
            if (!unseen_) unseen_.emplace(rows_, 0.5);
            Scheme dealt = sample_->deal(n_parts, agreeing);
            const double of_dealt = cost(n_parts, agreeing, unseen_->meetings(dealt));
            if (of_dealt < of_scheme) {
                of_scheme = of_dealt;
                scheme = std::move(dealt);
            }
        }
        if (of_scheme >= least) return std::nullopt;
        least = of_scheme;
        return scheme;
    }

private:
    // In how many tables two codes meet whose bits tell so much, if these are dealt evenly and independent.
    static double evenly(double information, int n_parts, int agreeing) {
        return choose(n_parts, agreeing) * std::exp2(-information * agreeing / n_parts);
    }

    double cost(int n_parts, int agreeing, double meetings) const {
        const double compared = n_pairs() * meetings, listed = n_ * choose(n_parts, agreeing);
        return listed * (kRowCost + kRowPartCost * agreeing + kRowWordCost * n_words_) + std::min(compared, listed) * kRowCompared +
               compared * n_words_ * comparison_cost_;
    }

    const CodeRows& rows_;
    const double deal_cost_;
    const int n_bits_;
    const double n_;
    const int n_words_;
    const double comparison_cost_;
    std::optional<CodeSample> sample_, unseen_;  // bits are dealt by the one, and what that gains is read off the other
};

}  // namespace

std::optional<Scheme> choose_scheme(const CodeRows& rows, int64_t radius, int n_parts, const PairsKernel& kernel,
                                    const HammingKernel& scan) {
    const int n_bits = 8 * rows.n_bytes;
    if (n_parts == kScan || radius >= n_bits) return std::nullopt;
    if (n_parts != kCheapest) {
        double any = std::numeric_limits<double>::infinity();
        return Chooser(rows, kernel, 0).cheaper(n_parts, n_parts - static_cast<int>(radius), any);
    }
    Chooser chooser(rows, kernel, kDealCost);
    double least = chooser.n_pairs() * rows.n_words() * scan.comparison_cost * kScanShare;
    std::optional<Scheme> chosen;
    for (int agreeing = 1; agreeing <= kMostAgreeing && radius + agreeing <= n_bits; ++agreeing) {
        const int parts = static_cast<int>(radius) + agreeing;
        if (choose(parts, agreeing) > kMostTables) break;
        if (std::optional<Scheme> scheme = chooser.cheaper(parts, agreeing, least)) chosen = std::move(scheme);
    }
    return chosen;
}

}  // namespace fasthash
