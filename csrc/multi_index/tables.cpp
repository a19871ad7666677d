#include "tables.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../thread_pool.h"

namespace fasthash {

namespace {

constexpr int64_t kBlock = 4096;  // codes between two reports of progress

int64_t entry_bytes(Layout layout) { return layout == Layout::fast ? 12 : 4; }

// Where the word lies that stands beside an id: all of a short code, else eight bytes that share as little with the key, which is known, as can be.
int64_t word_byte(int n_bytes, int start, int width) {
    const int after = (start + width + 7) / 8, before = start / 8 - 8;
    if (n_bytes <= 8) return 0;
    if (after + 8 <= n_bytes) return after;
    if (before >= 0) return before;
    return start < 4 * n_bytes ? n_bytes - 8 : 0;
}

Substring substring(int n_bytes, int start, int width) {
    const int byte = std::min(start / 8, std::max(n_bytes - 8, 0));
    return {byte, start - 8 * byte, (uint64_t{1} << width) - 1};
}

}  // namespace

uint64_t Tables::word(const uint8_t* code, int64_t byte) const {
    uint64_t bits = 0;
    if (n_bytes_ >= 8) {
        std::memcpy(&bits, code + byte, 8);
    } else {
        for (int i = 0; i < n_bytes_; ++i) bits |= uint64_t{code[i]} << 8 * i;
    }
    return bits;
}

uint32_t Tables::key(const uint8_t* code, int64_t t) const {
    const Substring& s = substrings_[static_cast<size_t>(t)];
    return static_cast<uint32_t>(word(code, s.byte) >> s.shift & s.mask);
}

// A key may be shorter than its share of the code: the search stays exact as long as keys do not overlap, and buckets that are
// mostly empty would be memory and probes for nothing.
void Tables::choose_keys(int n_bits, int n_tables, Layout layout) {
    const double n = static_cast<double>(std::max<int64_t>(n_codes_, 2));
    const double allowed = n * n_bytes_ * (layout == Layout::fast ? 5 : 2);
    const double entries = n * static_cast<double>(entry_bytes(layout)), least_offsets = n / 2;
    if (n_tables == 0) {
        const int affordable = static_cast<int>(allowed / (entries + least_offsets));
        const int wanted = static_cast<int>(std::lround(n_bits / std::log2(n)));
        n_tables = std::clamp(std::min(wanted, affordable), 1, n_bits);
    }
    for (int t = 0, start = 0; t < n_tables; ++t) {
        const int share = n_bits / n_tables + (t < n_bits % n_tables);
        tables_.push_back({start, std::min(share, kMaxWidth), 0, {}, {}, {}});
        start += share;
    }
    const double for_offsets = std::max(allowed - n_tables * entries, n_tables * least_offsets);
    for (;;) {
        double offsets = 0;
        for (const Table& table : tables_) offsets += std::ldexp(4.0, table.width);
        const auto widest = std::max_element(tables_.rbegin(), tables_.rend(), [](const Table& a, const Table& b) { return a.width < b.width; });
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
    choose_keys(n_bits, n_tables, layout);
    count_probes();
    parallel_for(size(), threads, [&](Job& job, int64_t t) {
        Table& table = tables_[static_cast<size_t>(t)];
        const int64_t n_keys = int64_t{1} << table.width;
        table.offsets = HugeArray<uint32_t>(n_keys + 1);
        table.ids = HugeArray<uint32_t>(n_codes_);
        if (layout == Layout::fast) table.words = HugeArray<uint64_t>(n_codes_);
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
            if (layout == Layout::fast) table.words.get()[entry] = word(code, table.word_byte);
        });
        std::copy_backward(offsets, offsets + n_keys, offsets + n_keys + 1);
        offsets[0] = 0;
    }, interrupted);
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

int64_t Tables::memory() const {
    int64_t bytes = 0;
    for (const Table& table : tables_) bytes += table.offsets.n_bytes() + table.ids.n_bytes() + table.words.n_bytes();
    return bytes;
}

}  // namespace fasthash
