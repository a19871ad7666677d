#include "plan.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace fasthash {

namespace {

// In nanoseconds of one thread; fasthash/ops/pairs/README.md says how they were measured.
constexpr double kRowCost = 7, kRowPartCost = 2, kRowWordCost = 2.5;  // of listing a row in a table
constexpr double kRowCompared = 3;                                    // of a row that is compared with any
constexpr double kScanShare = 0.5;                                    // of its kernel's cost of a comparison, on bit planes

constexpr double kMostTables = 4096;
constexpr int kMostAgreeing = 6;
constexpr int64_t kSample = 400;

double choose(int n, int k) {
    double ways = 1;
    for (int i = 0; i < k; ++i) ways *= static_cast<double>(n - i) / (i + 1);
    return ways;
}

// Pairs of codes as evenly far from each other as they lie in memory, by the bits in which they differ.
class Sample {
public:
    explicit Sample(const CodeRows& rows) : n_words_(rows.n_words()) {
        const int64_t n = std::min(rows.size(), kSample);
        std::vector<uint64_t> words(static_cast<size_t>(n * n_words_));
        for (int64_t i = 0; i < n; ++i) rows.read(rows.id(i * rows.size() / n), words.data() + i * n_words_);
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = i + 1; j < n; ++j) {
                for (int w = 0; w < n_words_; ++w) {
                    differing_.push_back(words[static_cast<size_t>(i * n_words_ + w)] ^ words[static_cast<size_t>(j * n_words_ + w)]);
                }
            }
        }
    }

    // In how many tables two codes meet on average, whose bits need not be random.
    double meetings(const Scheme& scheme) const {
        if (differing_.empty()) return 0;
        double sum = 0;
        for (size_t first = 0; first < differing_.size(); first += static_cast<size_t>(n_words_)) {
            int agreeing = 0;
            for (const Part& part : scheme.parts) agreeing += part.of(differing_.data() + first) == 0;
            if (agreeing >= scheme.n_agreeing) sum += choose(agreeing, scheme.n_agreeing);
        }
        return sum * n_words_ / static_cast<double>(differing_.size());
    }

private:
    const int n_words_;
    std::vector<uint64_t> differing_;
};

}  // namespace

std::optional<Scheme> choose_scheme(const CodeRows& rows, int64_t radius, int n_parts, const PairsKernel& kernel,
                                    const HammingKernel& scan) {
    const int n_bits = 8 * rows.n_bytes;
    if (n_parts == kScan || radius >= n_bits) return std::nullopt;
    if (n_parts != kCheapest) return Scheme(rows.n_bytes, n_parts, n_parts - static_cast<int>(radius));

    const double n = static_cast<double>(rows.size()), words = rows.n_words();
    const double pairs = rows.two_sets ? static_cast<double>(rows.n_codes) * static_cast<double>(rows.n_others) : n * (n - 1) / 2;
    double least = pairs * words * scan.comparison_cost * kScanShare;
    std::optional<Scheme> chosen;
    std::optional<Sample> sample;
    for (int agreeing = 1; agreeing <= kMostAgreeing && radius + agreeing <= n_bits; ++agreeing) {
        const Scheme scheme(rows.n_bytes, static_cast<int>(radius) + agreeing, agreeing);
        if (scheme.n_tables() > kMostTables) break;
        const auto cost_if = [&](double meetings) {
            const double compared = pairs * meetings;
            const double listing = n * scheme.n_tables() * (kRowCost + kRowPartCost * agreeing + kRowWordCost * words);
            return listing + std::min(compared, n * scheme.n_tables()) * kRowCompared + compared * words * kernel.comparison_cost;
        };
        if (cost_if(scheme.share_of_random()) >= least) continue;
        if (!sample) sample.emplace(rows);
        const double cost = cost_if(std::max(scheme.share_of_random(), sample->meetings(scheme)));
        if (cost >= least) continue;
        least = cost;
        chosen = scheme;
    }
    return chosen;
}

}  // namespace fasthash
