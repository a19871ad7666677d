#include "tables.h"

#include <algorithm>
#include <cmath>

#include "word.h"

namespace fasthash {

namespace {

constexpr int64_t kBlock = 4096;  // codes between two reports of progress

// In bytes for each code: what tables of the automatic number may take, and what the offsets of one of them take at least.
double allowed_bytes(Layout layout, int n_bytes) { return (layout == Layout::fast ? 5 : 2) * n_bytes; }
constexpr double kLeastOffsetBytes = 0.5;

// A word tells little of a long code, whose hits are far: its entries are ids alone in both layouts.
bool has_words(Layout layout, int n_bytes) { return layout == Layout::fast && n_bytes <= 16; }
double entry_bytes(Layout layout, int n_bytes) { return has_words(layout, n_bytes) ? 12 : 4; }

// Where the word lies that stands beside an id: all of a short code, else the end that shares the less with the key.
int64_t word_byte(int n_bytes, int start, int width) { return n_bytes > 8 && start + width / 2 < 4 * n_bytes ? n_bytes - 8 : 0; }

// The probability that of `flips` bits anywhere in a code at most `radius` are in a key that is `share` of it.
double binomial_at_most(int radius, int flips, double share) {
    double term = std::pow(1 - share, flips), sum = 0;
    for (int i = 0; i <= std::min(radius, flips); ++i) {
        sum += term;
        term *= share / (1 - share) * (flips - i) / (i + 1);
    }
    return share < 1 ? std::min(sum, 1.0) : flips <= radius;
}

Substring substring(int n_bytes, int start, int width) {
    const int byte = std::min(start / 8, std::max(n_bytes - 8, 0));
    return {byte, start - 8 * byte, (uint64_t{1} << width) - 1};
}

}  // namespace

uint64_t Tables::word(const uint8_t* code, int64_t byte) const { return load_word(code, n_bytes_, byte); }

uint32_t Tables::key(const uint8_t* code, int64_t t) const {
    const Substring& s = substrings_[static_cast<size_t>(t)];
    return static_cast<uint32_t>(word(code, s.byte) >> s.shift & s.mask);
}

int Tables::choose_size(int64_t n_codes, int n_bytes, int n_bits, Layout layout) {
    const int affordable = static_cast<int>(allowed_bytes(layout, n_bytes) / (entry_bytes(layout, n_bytes) + kLeastOffsetBytes));
    const double wanted = std::round(n_bits / std::log2(std::max<double>(static_cast<double>(n_codes), 2)));
    return std::clamp(std::min(static_cast<int>(wanted), affordable), 1, n_bits);
}

// A key may be shorter than its share of the code: the search stays exact as long as keys do not overlap, and buckets that are
// mostly empty would be memory and probes for nothing.
void Tables::choose_keys(int n_bits, int n_tables, Layout layout) {
    for (int t = 0, start = 0; t < n_tables; ++t) {
        const int share = n_bits / n_tables + (t < n_bits % n_tables);
        tables_.push_back({start, std::min(share, kMaxWidth), 0, {}, {}, {}});
        start += share;
    }
    const double left = allowed_bytes(layout, n_bytes_) - n_tables * entry_bytes(layout, n_bytes_);
    const double for_offsets = static_cast<double>(n_codes_) * std::max(left, n_tables * kLeastOffsetBytes);
    for (;;) {
        double offsets = 0;
        for (const Table& table : tables_) offsets += std::ldexp(4.0, table.width);
        const auto widest =
            std::max_element(tables_.rbegin(), tables_.rend(), [](const Table& a, const Table& b) { return a.width < b.width; });
        if (offsets <= for_offsets || widest->width == 1) break;
        --widest->width;
    }
    for (Table& table : tables_) {
        table.word_byte = word_byte(n_bytes_, table.start, table.width);
        substrings_.push_back(substring(n_bytes_, table.start, table.width));
    }
}

Tables::Tables(const uint8_t* codes, int64_t n_codes, int n_bytes, int n_bits, int n_tables, Layout layout, int threads,
               const std::function<bool()>& interrupted)
    : n_codes_(n_codes), n_bytes_(n_bytes) {
    choose_keys(n_bits, n_tables > 0 ? n_tables : choose_size(n_codes, n_bytes, n_bits, layout), layout);
    count_probes();
    estimate_shares_found();
    parallel_for(size(), threads, interrupted, [&](Job& job, int64_t t) { fill(t, codes, has_words(layout, n_bytes), job); });
}

void Tables::fill(int64_t t, const uint8_t* codes, bool with_words, Job& job) {
    Table& table = tables_[static_cast<size_t>(t)];
    const int64_t n_keys = int64_t{1} << table.width;
    table.offsets = HugeArray<uint32_t>(n_keys + 1);
    table.ids = HugeArray<uint32_t>(n_codes_);
    if (with_words) table.words = HugeArray<uint64_t>(n_codes_);
    // First how many codes have a key, then where the next of them goes; once all are placed, that is where the next key begins.
    uint32_t* const offsets = table.offsets.get();
    std::fill(offsets, offsets + n_keys + 1, 0);
    const auto each_code = [&](const auto& visit) {
        for (int64_t first = 0; first < n_codes_; first += kBlock) {
            const int64_t last = std::min(first + kBlock, n_codes_);
            for (int64_t id = first; id < last; ++id) visit(id, codes + id * n_bytes_);
            job.checkpoint(kBlock * 16);
        }
    };
    each_code([&](int64_t, const uint8_t* code) { ++offsets[key(code, t)]; });
    uint32_t before = 0;
    for (int64_t x = 0; x <= n_keys; ++x) {
        const uint32_t here = offsets[x];
        offsets[x] = before;
        before += here;
    }
    each_code([&](int64_t id, const uint8_t* code) {
        const uint32_t entry = offsets[key(code, t)]++;
        table.ids.get()[entry] = static_cast<uint32_t>(id);
        if (table.words.get()) table.words.get()[entry] = word(code, table.word_byte);
    });
    std::copy_backward(offsets, offsets + n_keys, offsets + n_keys + 1);
    offsets[0] = 0;
}

// Step m r + t probes table t at radius r; after every radius of one table nothing is left to find.
void Tables::count_probes() {
    int least_width = kMaxWidth;
    for (const Table& table : tables_) least_width = std::min(least_width, table.width);
    std::vector<double> probes(tables_.size(), 1);  // of each table at the radius
    probes_before_ = {0};
    for (int radius = 0; radius <= least_width; ++radius) {
        for (size_t t = 0; t < tables_.size(); ++t) {
            probes_before_.push_back(probes_before_.back() + probes[t]);
            probes[t] *= static_cast<double>(tables_[t].width - radius) / (radius + 1);
        }
    }
}

int64_t Tables::step_after(int64_t step, double n_probes) const {
    const auto last = std::upper_bound(probes_before_.begin() + step, probes_before_.end(), probes_before(step) + n_probes);
    return std::max<int64_t>(last - probes_before_.begin() - 1, 0);
}

void Tables::estimate_shares_found() {
    const int n_bits = 8 * n_bytes_;
    std::vector<double> missed(tables_.size() * static_cast<size_t>(n_bits + 1), 1);  // by each table so far
    for (int64_t step = 0; step < n_steps(); ++step) {
        const size_t of_step = static_cast<size_t>(step % size()) * static_cast<size_t>(n_bits + 1);
        for (int distance = 0; distance <= n_bits; ++distance) {
            double missed_by_all = 1;
            for (size_t t = 0; t < tables_.size(); ++t) {
                missed_by_all *= missed[t * static_cast<size_t>(n_bits + 1) + static_cast<size_t>(distance)];
            }
            shares_found_.push_back(static_cast<float>(1 - missed_by_all));
            const double share = static_cast<double>((*this)[step % size()].width) / n_bits;
            missed[of_step + static_cast<size_t>(distance)] = 1 - binomial_at_most(static_cast<int>(step / size()), distance, share);
        }
    }
}

int64_t Tables::memory() const {
    int64_t bytes = 0;
    for (const Table& table : tables_) bytes += table.offsets.n_bytes() + table.ids.n_bytes() + table.words.n_bytes();
    return bytes;
}

}  // namespace fasthash
