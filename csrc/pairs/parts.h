#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace fasthash {

// A run of bits of a code: load64(bytes + byte) >> shift & mask.
struct Part {
    int32_t byte;
    int32_t shift;
    int32_t width;
    uint64_t mask;

    uint64_t of(const uint64_t* words) const {
        uint64_t word;
        std::memcpy(&word, reinterpret_cast<const char*>(words) + byte, sizeof word);
        return word >> shift & mask;
    }
};

// How codes are cut: two within the radius agree in `n_agreeing` parts at least, as each bit in which they differ spoils one part.
struct Scheme {
    std::vector<Part> parts;
    int n_agreeing;

    Scheme(int n_bytes, int n_parts, int n_agreeing);

    int n_parts() const { return static_cast<int>(parts.size()); }
    double n_tables() const;
    // The share of pairs that a table compares, summed over the tables, if bits were random.
    double share_of_random() const;
};

// What a table lists codes by: the values of some parts.
struct TableKey {
    std::vector<int> chosen;  // ascending

    explicit TableKey(const Scheme& scheme);  // the first
    bool next(int n_parts);                   // the next in lexicographic order, or false after the last
};

// Hashes codes such that those that agree in the key's parts have one hash. Keys that count up spread evenly over its leading bits.
class KeyHash {
public:
    KeyHash(const Scheme& scheme, const TableKey& key);

    uint64_t operator()(const uint64_t* words, int) const {
        uint64_t key = 0;
        for (const Part& part : parts_) key = key << part.width | part.of(words);
        return key * 0x9E3779B97F4A7C15u;
    }

private:
    std::vector<Part> parts_;
};

// Hashes whole codes.
struct CodeHash {
    uint64_t operator()(const uint64_t* words, int n_words) const {
        uint64_t hash = 0;
        for (int w = 0; w < n_words; ++w) {
            hash = (hash ^ words[w]) * 0xBF58476D1CE4E5B9u;
            hash = (hash ^ hash >> 32) * 0x94D049BB133111EBu;
            hash ^= hash >> 29;
        }
        return hash;
    }
};

// Whether a pair that differs in these bits is first met in the table of the key: no table of an earlier key has both.
inline bool first_met(const Scheme& scheme, const TableKey& key, const uint64_t* differing) {
    size_t agreeing = 0;
    for (int p = 0; agreeing < key.chosen.size(); ++p) {
        if (scheme.parts[static_cast<size_t>(p)].of(differing) != 0) continue;
        if (key.chosen[agreeing++] != p) return false;
    }
    return true;
}

}  // namespace fasthash
