#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasthash {

// Some bits of one word of a code.
struct WordBits {
    int word;
    uint64_t bits;
};

inline WordBits bit_of_code(int64_t bit) { return {static_cast<int>(bit / 64), uint64_t{1} << bit % 64}; }

// A set of a code's bits, which no two parts share.
struct Part {
    std::vector<WordBits> words;  // ascending

    void add(const WordBits& bits);
    bool differs(const uint64_t* differing) const {
        for (const WordBits& of : words) {
            if (differing[of.word] & of.bits) return true;
        }
        return false;
    }
};

// How codes are cut: two within the radius agree in `n_agreeing` parts at least, as each bit in which they differ spoils one part.
struct Scheme {
    std::vector<Part> parts;
    int n_agreeing;

    int n_parts() const { return static_cast<int>(parts.size()); }
    double n_tables() const;
};

// Runs of bits, of about one length.
Scheme runs_of_bits(int n_bytes, int n_parts, int n_agreeing);

// What a table lists codes by: the values of some parts.
struct TableKey {
    std::vector<int> chosen;  // ascending

    explicit TableKey(const Scheme& scheme);  // the first
    bool next(int n_parts);                   // the next in lexicographic order, or false after the last
};

// Hashes codes such that those that agree in the key's parts have one hash.
class KeyHash {
public:
    KeyHash(const Scheme& scheme, const TableKey& key);

    uint64_t operator()(const uint64_t* words, int) const {
        uint64_t hash = 0;
        for (const WordBits& of : words_) hash = (hash ^ hash >> 32 ^ (words[of.word] & of.bits)) * kOdd;
        return (hash ^ hash >> 32) * kOdd;
    }

private:
    static constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;

    std::vector<WordBits> words_;
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
        if (scheme.parts[static_cast<size_t>(p)].differs(differing)) continue;
        if (key.chosen[agreeing++] != p) return false;
    }
    return true;
}

}  // namespace fasthash
