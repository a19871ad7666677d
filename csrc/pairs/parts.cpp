#include "parts.h"

#include <algorithm>
#include <cmath>

namespace fasthash {

namespace {

constexpr int kMostBits = 57;  // which a word read from a byte on has for certain
constexpr int kKeyBits = 64;

}  // namespace

Scheme::Scheme(int n_bytes, int n_parts, int agreeing) : n_agreeing(agreeing) {
    const int n_bits = 8 * n_bytes, last_word = std::max((n_bytes + 7) / 8 * 8 - 8, 0);
    for (int p = 0; p < n_parts; ++p) {
        const int start = static_cast<int>(int64_t{n_bits} * p / n_parts), end = static_cast<int>(int64_t{n_bits} * (p + 1) / n_parts);
        const int width = std::min({end - start, kMostBits, kKeyBits / n_agreeing});
        const int byte = std::min(start / 8, last_word);
        parts.push_back({byte, start - 8 * byte, width, (uint64_t{1} << width) - 1});
    }
}

double Scheme::n_tables() const {
    double tables = 1;
    for (int i = 0; i < n_agreeing; ++i) tables *= static_cast<double>(n_parts() - i) / (i + 1);
    return std::round(tables);
}

double Scheme::share_of_random() const {
    double bits = 0;
    for (const Part& part : parts) bits += part.width;
    return n_tables() * std::exp2(-bits * n_agreeing / n_parts());
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
    for (int p : key.chosen) parts_.push_back(scheme.parts[static_cast<size_t>(p)]);
}

}  // namespace fasthash
