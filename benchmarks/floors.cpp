// The least a search can cost: reading the codes once, and counting bits with no selection. Compiled by floors.py.
#include <cstdint>

extern "C" uint64_t read_words(const uint64_t* words, int64_t n) {
    uint64_t sums[32] = {};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int lane = 0; lane < 32; ++lane) sums[lane] ^= words[i + lane];
    }
    uint64_t sum = 0;
    for (; i < n; ++i) sum ^= words[i];
    for (uint64_t lane : sums) sum ^= lane;
    return sum;
}

namespace {

// n_queries times the distances of n codes of kWords words, kept in a tile of planes that fits the first-level cache.
template <int kWords>
uint64_t count(const uint64_t* queries, const uint64_t* planes, int64_t tile, int64_t n_queries, int64_t n) {
    uint64_t sums[32] = {};
    for (int64_t first = 0; first < n; first += tile) {
        for (int64_t i = 0; i < n_queries; ++i) {
            uint64_t query[kWords];
            for (int w = 0; w < kWords; ++w) query[w] = queries[i * kWords + w];
            for (int64_t j = 0; j < tile; j += 32) {
                for (int w = 0; w < kWords; ++w) {
                    for (int lane = 0; lane < 32; ++lane) sums[lane] += __builtin_popcountll(query[w] ^ planes[w * (tile + 8) + j + lane]);
                }
            }
        }
    }
    uint64_t sum = 0;
    for (uint64_t lane : sums) sum += lane;
    return sum;
}

}  // namespace

extern "C" uint64_t popcount_only(const uint64_t* queries, const uint64_t* planes, int n_words, int64_t tile, int64_t n_queries,
                                  int64_t n) {
    switch (n_words) {
        case 1: return count<1>(queries, planes, tile, n_queries, n);
        case 2: return count<2>(queries, planes, tile, n_queries, n);
        case 4: return count<4>(queries, planes, tile, n_queries, n);
        case 8: return count<8>(queries, planes, tile, n_queries, n);
        default: return count<16>(queries, planes, tile, n_queries, n);
    }
}
