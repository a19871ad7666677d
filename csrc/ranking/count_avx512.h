// Each level's file includes this one. Everything is in an anonymous namespace, so that no level's code can stand in for another's at
// link time.
#pragma once

#include "../hamming/lanes_avx512.h"
#include "kernel.h"

namespace fasthash {
namespace {

// A distance d is the word 1 << d, and words are counted place by place: a plane holds a bit of every place's number; two words of
// its weight are added to it and carry a word of twice the weight, as Harley and Seal count the bits of an array.
struct Bits {
    __m512i all, relevant;
};

constexpr int kBlockPlanes = 3, kBlockWords = 1 << kBlockPlanes, kTileBlocks = 1 << (BitCounts::kPlanes - kBlockPlanes);
constexpr int64_t kBlockCodes = kBlockWords * Lanes::kLanes;

__m512i add(__m512i& plane, __m512i a, __m512i b) {
    constexpr int kMajority = 0xe8, kParity = 0x96;
    const __m512i carry = _mm512_ternarylogic_epi64(plane, a, b, kMajority);
    plane = _mm512_ternarylogic_epi64(plane, a, b, kParity);
    return carry;
}

// Adds n words, a power of two, to log2(n) planes and returns what they carry. Overwrites the words.
Bits add_all(Bits* planes, Bits* words, int n) {
    for (; n > 1; n /= 2, ++planes) {
        for (int i = 0; i < n / 2; ++i) {
            const Bits &a = words[2 * i], &b = words[2 * i + 1];
            words[i] = {add(planes->all, a.all, b.all), add(planes->relevant, a.relevant, b.relevant)};
        }
    }
    return words[0];
}

void add_to_numbers(__m512i bits, int weight, uint32_t* numbers) {
    uint64_t words[Lanes::kLanes];
    __m512i sums[4];
    _mm512_storeu_si512(words, bits);
    for (int i = 0; i < 4; ++i) sums[i] = _mm512_load_si512(numbers + 16 * i);
    for (uint64_t word : words) {
        for (int i = 0; i < 4; ++i) {
            sums[i] = _mm512_mask_add_epi32(sums[i], static_cast<__mmask16>(word >> 16 * i), sums[i], _mm512_set1_epi32(weight));
        }
    }
    for (int i = 0; i < 4; ++i) _mm512_store_si512(numbers + 16 * i, sums[i]);
}

template <bool kShared>
int64_t count_tile(const CodeTile& tile, uint64_t query, const Relevance& relevance, BitCounts& counts) {
    const int64_t n_blocks = tile.count / kBlockCodes < kTileBlocks ? tile.count / kBlockCodes : kTileBlocks;
    const Lanes::Words query_words = Lanes::broadcast(query);
    const __m256i wanted = _mm256_set1_epi32(relevance.wanted);
    Bits planes[BitCounts::kPlanes], carries[kTileBlocks] = {};
    for (int i = 0; i < BitCounts::kPlanes; ++i) {
        planes[i] = {_mm512_load_si512(counts.planes[i].all), _mm512_load_si512(counts.planes[i].relevant)};
    }
    for (int64_t block = 0; block < n_blocks; ++block) {
        Bits words[kBlockWords];
        for (int i = 0; i < kBlockWords; ++i) {
            const int64_t code = block * kBlockCodes + i * Lanes::kLanes;
            const Lanes::Counts distances = Lanes::finish(Lanes::partial_popcount(Lanes::load(tile.words + code), query_words));
            const __m256i labels = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(relevance.labels + code));
            const __mmask8 relevant = kShared ? _mm256_test_epi32_mask(labels, wanted) : _mm256_cmpeq_epi32_mask(labels, wanted);
            words[i].all = _mm512_sllv_epi64(_mm512_set1_epi64(1), distances);  // 0 for a distance of 64
            words[i].relevant = _mm512_maskz_mov_epi64(relevant, words[i].all);
        }
        carries[block] = add_all(planes, words, kBlockWords);
    }
    const Bits carry = add_all(planes + kBlockPlanes, carries, kTileBlocks);
    for (int i = 0; i < BitCounts::kPlanes; ++i) {
        _mm512_store_si512(counts.planes[i].all, planes[i].all);
        _mm512_store_si512(counts.planes[i].relevant, planes[i].relevant);
    }
    add_to_numbers(carry.all, 1 << BitCounts::kPlanes, counts.all);
    add_to_numbers(carry.relevant, 1 << BitCounts::kPlanes, counts.relevant);
    return n_blocks * kBlockCodes;
}

int64_t count(const CodeTile& tile, uint64_t query, const Relevance& relevance, BitCounts& counts) {
    return relevance.shared ? count_tile<true>(tile, query, relevance, counts) : count_tile<false>(tile, query, relevance, counts);
}

void finish(BitCounts& counts) {
    for (int i = 0; i < BitCounts::kPlanes; ++i) {
        add_to_numbers(_mm512_load_si512(counts.planes[i].all), 1 << i, counts.all);
        add_to_numbers(_mm512_load_si512(counts.planes[i].relevant), 1 << i, counts.relevant);
    }
}

}  // namespace
}  // namespace fasthash
