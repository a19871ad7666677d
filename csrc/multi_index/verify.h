// Verification, written once over the popcount of the level whose file includes it; everything is in an anonymous namespace.
#pragma once

#include "../popcount.h"
#include "kernel.h"
#include "word.h"

namespace fasthash {
namespace {

constexpr int64_t kBatch = 128;  // entries whose memory is asked for before the first of them is read
constexpr double kPopcountCost = kHasPopcount ? 0 : 1.5;

int64_t select_all(const Bucket* buckets, int64_t n_buckets, uint32_t* entries) {
    int64_t selected = 0;
    for (int64_t i = 0; i < n_buckets; ++i) {
        for (uint32_t entry = buckets[i].begin; entry < buckets[i].end; ++entry) entries[selected++] = entry;
    }
    return selected;
}

// Whether a table that came before this one at the radius, or any other at a smaller one, has led to the code.
template <class Word>
inline bool found_before(const Probe& probe, const Word& word) {
    for (int64_t t = 0; t < probe.n_tables; ++t) {
        if (t == probe.table) continue;
        const Substring& substring = probe.substrings[t];
        const uint64_t key = word(substring.byte) >> substring.shift & substring.mask;
        if (popcount(key ^ probe.keys[t]) < probe.radius + (t < probe.table)) return true;
    }
    return false;
}

// The entries' words are their codes.
int64_t verify_words(const Probe& probe, uint32_t* entries, int64_t n_entries, uint64_t* items) {
    int64_t found = 0;
    for (int64_t i = 0; i < n_entries; ++i) {
        const uint64_t code = probe.words[entries[i]];
        const uint64_t distance = popcount(code ^ probe.query_word);
        if (distance > probe.limit || found_before(probe, [code](int64_t) { return code; })) continue;
        items[found] = make_item(distance, 0);
        entries[found++] = entries[i];
        __builtin_prefetch(probe.ids + entries[i]);
    }
    for (int64_t i = 0; i < found; ++i) items[i] |= probe.ids[entries[i]];
    return found;
}

inline uint64_t distance(const Probe& probe, const uint8_t* code) {
    const uint8_t* const query = probe.query;
    const int64_t n_bytes = probe.n_bytes;
    if (n_bytes < 8) return popcount(load_short(code, n_bytes) ^ load_short(query, n_bytes));
    uint64_t sum = 0;
    int64_t byte = 0;
    for (; byte + 8 <= n_bytes; byte += 8) sum += popcount(load_word(code + byte) ^ load_word(query + byte));
    // The last bytes as the end of a word that begins before them.
    if (byte < n_bytes) sum += popcount((load_word(code + n_bytes - 8) ^ load_word(query + n_bytes - 8)) >> 8 * (byte + 8 - n_bytes));
    return sum;
}

int64_t verify_rows(const Probe& probe, const uint32_t* entries, int64_t n_entries, uint64_t* items) {
    int64_t found = 0;
    for (int64_t first = 0; first < n_entries; first += kBatch) {
        const int64_t n = n_entries - first < kBatch ? n_entries - first : kBatch;
        uint32_t ids[kBatch];
        if (probe.words) {
            for (int64_t i = 0; i < n; ++i) __builtin_prefetch(probe.ids + entries[first + i]);
        }
        for (int64_t i = 0; i < n; ++i) {
            ids[i] = probe.ids[entries[first + i]];
            const uint8_t* const code = probe.codes + ids[i] * probe.n_bytes;
            __builtin_prefetch(code);
            __builtin_prefetch(code + probe.n_bytes - 1);
        }
        for (int64_t i = 0; i < n; ++i) {
            const uint8_t* const code = probe.codes + ids[i] * probe.n_bytes;
            const uint64_t apart = distance(probe, code);
            if (apart > probe.limit) continue;
            const auto word = [&](int64_t byte) { return load_word(code, probe.n_bytes, byte); };
            if (!found_before(probe, word)) items[found++] = make_item(apart, ids[i]);
        }
    }
    return found;
}

int64_t verify(const Probe& probe, uint32_t* entries, int64_t n_entries, uint64_t* items) {
    return probe.words && probe.n_bytes <= 8 ? verify_words(probe, entries, n_entries, items)
                                             : verify_rows(probe, entries, n_entries, items);
}

}  // namespace
}  // namespace fasthash
