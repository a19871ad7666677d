#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "../huge_array.h"
#include "../thread_pool.h"
#include "kernel.h"

namespace fasthash {

// Codes listed by a substring of theirs, in compressed-sparse-row form: the entries with key x are offsets[x] to offsets[x + 1],
// in ascending order of id.
struct Table {
    int start;                    // first bit of the key
    int width;                    // bits of the key
    int64_t word_byte;            // where in a code its entry's word lies
    HugeArray<uint32_t> offsets;  // [2^width + 1]
    HugeArray<uint32_t> ids;      // [n]
    HugeArray<uint64_t> words;    // [n] or none
};

enum class Layout { compact, fast };

// The tables of a multi-index over codes [0, n), disjoint substrings of which are the keys.
class Tables {
public:
    static constexpr int64_t kMaxCodes = (int64_t{1} << 32) - 64;
    static constexpr int kMaxWidth = 28;

    // How many tables there should be: keys about log2(n) bits long, in memory of at most 2 (compact) or 5 (fast) times that of the codes.
    static int choose_size(int64_t n_codes, int n_bytes, int n_bits, Layout layout);

    // n_tables = 0 chooses.
    Tables(const uint8_t* codes, int64_t n_codes, int n_bytes, int n_bits, int n_tables, Layout layout, int threads,
           const std::function<bool()>& interrupted);

    int64_t n_codes() const { return n_codes_; }
    int n_bytes() const { return n_bytes_; }
    int64_t size() const { return static_cast<int64_t>(tables_.size()); }
    const Table& operator[](int64_t t) const { return tables_[static_cast<size_t>(t)]; }
    const Substring* substrings() const { return substrings_.data(); }
    int64_t memory() const;  // in bytes

    // Step m r + t of a search probes table t of m with every key at radius r from the query's. Before step s all codes nearer
    // than s are found.
    int64_t n_steps() const { return static_cast<int64_t>(probes_before_.size()) - 1; }
    double probes_before(int64_t step) const { return probes_before_[static_cast<size_t>(step)]; }
    double probes_at(int64_t step) const { return probes_before(step + 1) - probes_before(step); }
    // The step before which `n_probes` were made since an earlier one.
    int64_t step_after(int64_t step, double n_probes) const;

    // Of the codes at a distance, the share that is found before a step if the bits that differ lie anywhere.
    double share_found(int64_t step, int64_t distance) const {
        return shares_found_[static_cast<size_t>(step * (8 * n_bytes_ + 1) + distance)];
    }

    // A word of a code as the substrings and the entries have it.
    uint64_t word(const uint8_t* code, int64_t byte) const;
    uint32_t key(const uint8_t* code, int64_t t) const;

private:
    void fill(int64_t t, const uint8_t* codes, bool with_words, Job& job);
    void choose_keys(int n_bits, int n_tables, Layout layout);
    void count_probes();
    void estimate_shares_found();

    int64_t n_codes_;
    int n_bytes_;
    std::vector<Table> tables_;
    std::vector<Substring> substrings_;
    std::vector<double> probes_before_;  // [n_steps + 1]
    std::vector<float> shares_found_;    // [n_steps, n_bits + 1]
};

}  // namespace fasthash
