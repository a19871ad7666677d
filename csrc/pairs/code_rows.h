#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace fasthash {

// Row-major packed codes, in memory that somebody else owns, of one set, or of two whose ids follow each other; of which some take part.
struct CodeRows {
    const uint8_t* codes;
    int64_t n_codes;
    const uint8_t* others;
    int64_t n_others;
    int n_bytes;
    bool two_sets;                        // whether pairs are of a code and one of the others
    std::vector<uint32_t> taking_part{};  // ids, ascending; empty: all

    int n_words() const { return (n_bytes + 7) / 8; }
    int64_t n_ids() const { return n_codes + n_others; }
    int64_t size() const { return taking_part.empty() ? n_ids() : static_cast<int64_t>(taking_part.size()); }
    int64_t id(int64_t i) const { return taking_part.empty() ? i : taking_part[static_cast<size_t>(i)]; }
    // How many of those that take part come before an id.
    int64_t before(int64_t of_id) const {
        if (taking_part.empty()) return of_id;
        return std::lower_bound(taking_part.begin(), taking_part.end(), static_cast<uint32_t>(of_id)) - taking_part.begin();
    }
    const uint8_t* code(int64_t of_id) const { return of_id < n_codes ? codes + of_id * n_bytes : others + (of_id - n_codes) * n_bytes; }
    // The code's words, the rest of the last one zero.
    void read(int64_t of_id, uint64_t* words) const {
        const uint8_t* const bytes = code(of_id);
        if (n_bytes == 8) {
            std::memcpy(words, bytes, 8);
            return;
        }
        words[n_words() - 1] = 0;
        std::memcpy(words, bytes, static_cast<size_t>(n_bytes));
    }
};

}  // namespace fasthash
