// Selection at the levels without vector popcounts; everything is in an anonymous namespace.
#pragma once

#include "verify.h"

namespace fasthash {
namespace {

int64_t select_near(const Probe& probe, const Bucket* buckets, int64_t n_buckets, uint32_t* entries) {
    int64_t selected = 0;
    for (int64_t i = 0; i < n_buckets; ++i) {
        for (uint32_t entry = buckets[i].begin; entry < buckets[i].end; ++entry) {
            entries[selected] = entry;
            selected += popcount(probe.words[entry] ^ probe.query_word) <= probe.limit;
        }
    }
    return selected;
}

int64_t select(const Probe& probe, const Bucket* buckets, int64_t n_buckets, uint32_t* entries) {
    return probe.words ? select_near(probe, buckets, n_buckets, entries) : select_all(buckets, n_buckets, entries);
}

}  // namespace
}  // namespace fasthash
