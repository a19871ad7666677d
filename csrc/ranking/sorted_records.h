#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace fasthash {

// A code in a ranking: how far its similarity, -1 to 1, is below 1, above a bit for whether it is relevant.
using Record = uint32_t;

inline Record make_record(double similarity, bool relevant) {
    constexpr double kUnits = 1 << 29;
    similarity = similarity < 1 ? similarity : 1;  // a NaN too
    similarity = similarity > -1 ? similarity : -1;
    // Rounded, so that exact similarities are the middle of what counts as equal to them.
    return static_cast<Record>(static_cast<int64_t>((1 - similarity) * kUnits + 0.5)) << 1 | static_cast<Record>(relevant);
}
inline bool is_relevant(Record record) { return record & 1; }

// Sorts by the similarity's kDigits digits of kDigitBits bits, equal ones in their order.
template <int kDigits, int kDigitBits>
void sort_by_digits(Record* records, int64_t n, std::vector<Record>& scratch) {
    constexpr int kFirstBit = 1;
    constexpr size_t kRadix = size_t{1} << kDigitBits;
    const auto digit = [](Record record, size_t place) {
        return static_cast<size_t>(uint64_t{record} >> (kFirstBit + place * kDigitBits)) % kRadix;
    };
    std::array<std::array<uint32_t, kRadix>, kDigits> places{};
    for (int64_t i = 0; i < n; ++i) {
        for (size_t place = 0; place < kDigits; ++place) ++places[place][digit(records[i], place)];
    }
    scratch.resize(std::max(scratch.size(), static_cast<size_t>(n)));
    Record *from = records, *to = scratch.data();
    for (size_t place = 0; place < kDigits; ++place) {
        std::array<uint32_t, kRadix>& next = places[place];
        if (next[digit(from[0], place)] == n) continue;
        uint32_t before = 0;
        for (uint32_t& count : next) before += std::exchange(count, before);
        for (int64_t i = 0; i < n; ++i) to[next[digit(from[i], place)]++] = from[i];
        std::swap(from, to);
    }
    if (from != records) std::copy_n(from, n, records);
}

// Sorts by similarity, equal ones in their order. `scratch` grows as it must.
inline void sort_records(Record* records, int64_t n, std::vector<Record>& scratch) {
    constexpr int64_t kFew = 24, kMany = 2048;
    if (n >= kMany) return sort_by_digits<3, 11>(records, n, scratch);
    if (n > kFew) return sort_by_digits<4, 8>(records, n, scratch);
    for (int64_t i = 1; i < n; ++i) {
        const Record record = records[i];
        int64_t to = i;
        for (; to > 0 && records[to - 1] >> 1 > record >> 1; --to) records[to] = records[to - 1];
        records[to] = record;
    }
}

}  // namespace fasthash
