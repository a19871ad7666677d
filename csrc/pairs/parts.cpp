#include "parts.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace fasthash {

void Part::add(const WordBits& bits) {
    const auto before = [](const WordBits& a, const WordBits& b) { return a.word < b.word; };
    const auto at = std::lower_bound(words.begin(), words.end(), bits, before);
    if (at == words.end() || at->word != bits.word) {
        words.insert(at, bits);
    } else {
        at->bits |= bits.bits;
    }
}

double Scheme::n_tables() const {
    double tables = 1;
    for (int i = 0; i < n_agreeing; ++i) tables *= static_cast<double>(n_parts() - i) / (i + 1);
    return std::round(tables);
}

Scheme runs_of_bits(int n_bytes, int n_parts, int n_agreeing) {
    Scheme scheme{std::vector<Part>(static_cast<size_t>(n_parts)), n_agreeing};
    const int64_t n_bits = 8 * n_bytes;
    for (int p = 0; p < n_parts; ++p) {
        for (int64_t bit = n_bits * p / n_parts; bit < n_bits * (p + 1) / n_parts; ++bit) {
            scheme.parts[static_cast<size_t>(p)].add(bit_of_code(bit));
        }
    }
    return scheme;
}

TableKey::TableKey(const Scheme& scheme) {
    for (int p = 0; p < scheme.n_agreeing; ++p) chosen.push_back(p);
}

bool TableKey::next(int n_parts) {
    const int n = static_cast<int>(chosen.size());
    for (int i = n - 1; i >= 0; --i) {
        int& part = chosen[static_cast<size_t>(i)];
        if (part == n_parts - n + i) continue;
        ++part;
        for (int j = i + 1; j < n; ++j) chosen[static_cast<size_t>(j)] = chosen[static_cast<size_t>(j - 1)] + 1;
        return true;
    }
    return false;
}

KeyHash::KeyHash(const Scheme& scheme, const TableKey& key) {
    Part joined;
    for (int p : key.chosen) {
        for (const WordBits& bits : scheme.parts[static_cast<size_t>(p)].words) joined.add(bits);
    }
    words_ = std::move(joined.words);
}

}  // namespace fasthash
