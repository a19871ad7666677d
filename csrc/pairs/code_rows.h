#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace fasthash {

// Row-major packed codes, in memory that somebody else owns, of one set, or of two whose ids follow each other; of which some take part.
struct CodeRows {
    const uint8_t* codes;
    int64_t n_codes;
    const uint8_t* others;
    int64_t n_others;
    int n_bytes;
    bool two_sets;                                       // whether pairs are of a code and one of the others
    std::optional<std::vector<uint32_t>> taking_part{};  // ids, ascending; none: all
    int64_t since = 0;                                   // of a pair within one set, the later id is at least this

    int n_words() const { return (n_bytes + 7) / 8; }
    int64_t n_ids() const { return n_codes + n_others; }
    int64_t size() const { return taking_part ? static_cast<int64_t>(taking_part->size()) : n_ids(); }
    int64_t id(int64_t i) const { return taking_part ? (*taking_part)[static_cast<size_t>(i)] : i; }
    // How many of those that take part come before an id.
    int64_t before(int64_t of_id) const {
        if (!taking_part) return of_id;
        return std::lower_bound(taking_part->begin(), taking_part->end(), static_cast<uint32_t>(of_id)) - taking_part->begin();
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

// The ids that take part: those of the first set that a mask lets, and the others.
inline std::vector<uint32_t> eligible(const uint8_t* mask, int64_t n_codes, int64_t n_others) {
    std::vector<uint32_t> ids;
    for (int64_t id = 0; id < n_codes + n_others; ++id) {
        if (id >= n_codes || (mask[id / 8] >> id % 8 & 1)) ids.push_back(static_cast<uint32_t>(id));
    }
    return ids;
}

}  // namespace fasthash
