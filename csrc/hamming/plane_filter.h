// The filter on bit planes, written once over registers of the level that a file is compiled for; fasthash/ops/hamming/README.md derives it.
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../popcount.h"
#include "../registers.h"
#include "../rounding.h"
#include "kernel.h"
#include "plane_layout.h"
#include "scan.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FASTHASH_INLINE inline __attribute__((always_inline))

namespace fasthash {
namespace {

typedef uint64_t Bits __attribute__((vector_size(FASTHASH_REGISTER_BYTES)));
typedef uint64_t UnalignedBits __attribute__((vector_size(FASTHASH_REGISTER_BYTES), aligned(8), may_alias));
constexpr int kPlaneWords = FASTHASH_REGISTER_BYTES / 8;
constexpr int64_t kPlaneCodes = 64 * kPlaneWords;

FASTHASH_INLINE Bits load_bits(const uint64_t* from) { return *reinterpret_cast<const UnalignedBits*>(from); }
FASTHASH_INLINE void store_bits(uint64_t* to, Bits bits) { *reinterpret_cast<UnalignedBits*>(to) = bits; }
FASTHASH_INLINE Bits all_lanes(uint64_t word) { return Bits{} + word; }

#if defined(__AVX512F__)

template <int kTruths>
FASTHASH_INLINE Bits logic(Bits a, Bits b, Bits c) {
    return (Bits)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, kTruths);
}
FASTHASH_INLINE Bits select(Bits where, Bits a, Bits b) { return logic<0xCA>(where, a, b); }
// Adds two planes to a plane of sums and returns the carries, from the new sum: each instruction then destroys what nothing else reads.
FASTHASH_INLINE Bits add(Bits& sum, Bits a, Bits b) {
    sum = logic<0x96>(sum, a, b);
    return logic<0xD4>(a, b, sum);
}
// The borrow of x - y - borrow.
FASTHASH_INLINE Bits subtract(Bits x, Bits y, Bits borrow) { return logic<0x8E>(x, y, borrow); }
FASTHASH_INLINE bool any(Bits a) { return _mm512_test_epi64_mask((__m512i)a, (__m512i)a) != 0; }

#else

#if defined(__aarch64__)
FASTHASH_INLINE Bits select(Bits where, Bits a, Bits b) { return (Bits)vbslq_u64((uint64x2_t)where, (uint64x2_t)a, (uint64x2_t)b); }
#else
FASTHASH_INLINE Bits select(Bits where, Bits a, Bits b) { return b ^ (where & (a ^ b)); }
#endif
#if defined(__AVX2__)
FASTHASH_INLINE bool any(Bits a) { return !_mm256_testz_si256((__m256i)a, (__m256i)a); }
#else
FASTHASH_INLINE bool any(Bits a) { return (a[0] | a[1]) != 0; }
#endif
FASTHASH_INLINE Bits add(Bits& sum, Bits a, Bits b) {
    const Bits different = a ^ b, carry = select(different, sum, a);
    sum ^= different;
    return carry;
}
FASTHASH_INLINE Bits subtract(Bits x, Bits y, Bits borrow) { return select(x ^ y, y, borrow); }

#endif

// Plane `at` of a list. Offsets are read two at a time, as reading them competes with reading planes.
FASTHASH_INLINE Bits load_plane(const uint64_t* group, const uint16_t* planes, int at) {
    uint32_t two;
    __builtin_memcpy(&two, planes + at / 2 * 2, sizeof two);
    return load_bits(group + (at % 2 ? two >> 16 : two & 0xffff));
}

FASTHASH_INLINE Bits load_plane(const uint64_t* group, const int64_t* planes, int at) { return load_bits(group + planes[at]); }

// Adds 2^kBits - 1 planes of a list. Two halves that need not wait for each other, and the last plane as the carry into their sum.
template <int kBits, int kFirst = 0, class Planes>
FASTHASH_INLINE void add_planes(const uint64_t* group, Planes planes, Bits* sums) {
    if constexpr (kBits == 1) {
        sums[0] = load_plane(group, planes, kFirst);
    } else {
        constexpr int kHalf = (1 << (kBits - 1)) - 1;
        Bits others[kBits - 1];
        add_planes<kBits - 1, kFirst>(group, planes, sums);
        add_planes<kBits - 1, kFirst + kHalf>(group, planes, others);
        Bits carry = load_plane(group, planes, kFirst + 2 * kHalf);
#pragma GCC unroll 16
        for (int i = 0; i < kBits - 1; ++i) carry = add(sums[i], others[i], carry);
        sums[kBits - 1] = carry;
    }
}

// Adds a query's planes to kCounters + 1 counters, the last of them zero, 2^kBlockBits at a time.
template <int kCounters, int kBlockBits, class Query>
FASTHASH_INLINE void add_query(const uint64_t* group, const Query& query, Bits* counters) {
    constexpr int kBlock = 1 << kBlockBits;
    auto planes = query.planes;
    for (int block = 0; block < query.n_blocks; ++block, planes += kBlock) {
        Bits sums[kBlockBits];
        add_planes<kBlockBits>(group, planes, sums);
        Bits carry = load_plane(group, planes, kBlock - 1);
#pragma GCC unroll 16
        for (int i = 0; i < kBlockBits; ++i) carry = add(counters[i], sums[i], carry);
#pragma GCC unroll 16
        for (int i = kBlockBits; i < kCounters; ++i) {
            const Bits next = counters[i] & carry;
            counters[i] ^= carry;
            carry = next;
        }
        counters[kCounters] ^= carry;
    }
}

// Where the counters of a query start, so that a borrow in popcount + n_bits / 2 - 2 (start + sum) - odd tells the codes below a limit.
template <int kCounters>
struct Start {
    Bits counters[kCounters + 1];
    Bits odd;

    template <class Query>
    FASTHASH_INLINE Start(int n_bits, const Query& query, uint64_t limit) {
        const int64_t signed_limit = static_cast<int64_t>(limit);
        const int64_t twice =
            query.complement ? n_bits + n_bits / 2 - query.n_planes - signed_limit + 1 : signed_limit - query.n_planes + n_bits / 2;
        const Bits all = all_lanes(static_cast<uint64_t>(twice));
        odd = -(all & 1);
#pragma GCC unroll 16
        for (int i = 0; i < kCounters; ++i) counters[i] = -(all >> (i + 1) & 1);
        counters[kCounters] = Bits{};
    }
};

// Takes the codes of a group that a mask tells, in order: bit i of word l is code kPlaneWords i + l.
inline void take_codes(const CodeTile& tile, int64_t first, Bits mask, int n_words, const uint64_t* query, CandidateList& list) {
    uint64_t words[kPlaneWords], of_any = 0, n_codes = 0;
    store_bits(words, mask);
    for (uint64_t word : words) {
        of_any |= word;
        n_codes += popcount(word);
    }
    if (n_codes > kPlaneCodes / 32) {
        CodeTile codes = tile;
        codes.words += first * tile.code_stride;
        codes.base += first;
        codes.count = tile.count - first < kPlaneCodes ? tile.count - first : kPlaneCodes;
        return scan(codes, n_words, query, list);
    }
    for (; of_any != 0; of_any &= of_any - 1) {
        const int bit = __builtin_ctzll(of_any);
        for (int lane = 0; lane < kPlaneWords; ++lane) {
            const int64_t code = first + bit * kPlaneWords + lane;
            if (!(words[lane] >> bit & 1) || code >= tile.count) continue;
            uint64_t distance = 0;
            for (int w = 0; w < n_words; ++w) distance += popcount(tile.words[code * tile.code_stride + w * tile.word_stride] ^ query[w]);
            if (distance >= list.limit) continue;
            list.items[list.size++] = make_item(distance, static_cast<uint64_t>(tile.base + code));
            if (list.capacity - list.size < kTileGroup) list.full(list);
        }
    }
}

template <int kCounters, int kBlockBits>
void filter_codes(const CodeTile& tile, const uint64_t* planes, const PlaneLayout& layout, const PlaneQuery& query, CandidateList& list) {
    const Bits complement = all_lanes(query.complement ? ~uint64_t{0} : 0);
    const int n_words = static_cast<int>(ceil_div(layout.n_bits, 64));
    uint64_t limit = list.limit;
    Start<kCounters> start(layout.n_bits, query, limit);
    for (int64_t first = 0; first < tile.count; first += kPlaneCodes, planes += layout.group_words) {
        Bits counters[kCounters + 1];
#pragma GCC unroll 16
        for (int i = 0; i <= kCounters; ++i) counters[i] = start.counters[i];
        add_query<kCounters, kBlockBits>(planes, query, counters);

        const uint64_t* popcounts = planes + layout.popcounts;
        Bits borrow = start.odd & ~load_bits(popcounts);
#pragma GCC unroll 16
        for (int i = 0; i < kCounters; ++i) borrow = subtract(load_bits(popcounts + (i + 1) * kPlaneWords), counters[i], borrow);
        const Bits below = (borrow | counters[kCounters]) ^ complement;
        if (__builtin_expect(any(below), 0)) {
            take_codes(tile, first, below, n_words, query.words, list);
            if (list.limit != limit) start = Start<kCounters>(layout.n_bits, query, limit = list.limit);
        }
    }
}

// Bits 64 w to 64 w + 63 of 64 registers of codes as 64 planes: in every lane, a matrix of 64 by 64 bits is transposed.
// Each of six steps exchanges one bit of the register's number with the same bit of the position in a word.
template <int kStep>
FASTHASH_INLINE void exchange(Bits* registers, uint64_t low) {
    const Bits where = all_lanes(low);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
        constexpr int kDistance = kStep >= 8 ? kStep / 8 : kStep;  // of the eight registers at hand
        if (i & kDistance) continue;
        const Bits a = registers[i], b = registers[i | kDistance];
        registers[i] = select(where, a, b << kStep);
        registers[i | kDistance] = select(where, a >> kStep, b);
    }
}

inline void transpose(Bits* registers) {
    for (int first = 0; first < 8; ++first) {
        Bits eight[8];
        for (int i = 0; i < 8; ++i) eight[i] = registers[first + 8 * i];
        exchange<32>(eight, 0x00000000ffffffffu);
        exchange<16>(eight, 0x0000ffff0000ffffu);
        exchange<8>(eight, 0x00ff00ff00ff00ffu);
        for (int i = 0; i < 8; ++i) registers[first + 8 * i] = eight[i];
    }
    for (int first = 0; first < 64; first += 8) {
        Bits eight[8];
        for (int i = 0; i < 8; ++i) eight[i] = registers[first + i];
        exchange<4>(eight, 0x0f0f0f0f0f0f0f0fu);
        exchange<2>(eight, 0x3333333333333333u);
        exchange<1>(eight, 0x5555555555555555u);
        for (int i = 0; i < 8; ++i) registers[first + i] = eight[i];
    }
}

template <int kCounters, int kBlockBits>
void make_group(const CodeTile& tile, int64_t first, const PlaneLayout& layout, const PlaneQuery& every, uint64_t* planes) {
    const int64_t readable = round_up(tile.count, kTileGroup) - first;
    for (int bit = 0; bit < layout.n_bits; bit += 64) {
        const uint64_t* words = tile.words + first + bit / 64 * tile.word_stride;
        Bits registers[64];
        for (int i = 0; i < 64; ++i) registers[i] = i * kPlaneWords < readable ? load_bits(words + i * kPlaneWords) : Bits{};
        transpose(registers);
        for (int i = 0; i < 64 && bit + i < layout.n_bits; ++i) store_bits(planes + (bit + i) * kPlaneWords, registers[i]);
    }
    store_bits(planes + layout.zeros, Bits{});
    Bits counters[kCounters + 1] = {};
    for (int i = 0; i < kCounters; ++i) counters[i] = -(all_lanes(static_cast<uint64_t>(layout.n_bits / 2)) >> i & 1);
    add_query<kCounters, kBlockBits>(planes, every, counters);
    for (int i = 0; i <= kCounters; ++i) store_bits(planes + layout.popcounts + i * kPlaneWords, counters[i]);
}

template <int kCounters, int kBlockBits>
void make_groups(const CodeTile& tile, const PlaneLayout& layout, const PlaneQuery& every, uint64_t* planes) {
    for (int64_t first = 0; first < tile.count; first += kPlaneCodes, planes += layout.group_words) {
        make_group<kCounters, kBlockBits>(tile, first, layout, every, planes);
    }
}

// The two as one, for a layout's numbers at compile time.
struct MadeFor {
    void (*make)(const CodeTile& tile, const PlaneLayout& layout, const PlaneQuery& every, uint64_t* planes);
    void (*filter)(const CodeTile& tile, const uint64_t* planes, const PlaneLayout& layout, const PlaneQuery& query, CandidateList& list);
};

template <int kCounters, int kBlockBits>
constexpr MadeFor kMadeFor{make_groups<kCounters, kBlockBits>, filter_codes<kCounters, kBlockBits>};

inline const MadeFor& made_for(const PlaneLayout& layout) {
    const bool few = layout.block == 32;
    switch (layout.counters) {
        case 5: return kMadeFor<5, 4>;
        case 6: return kMadeFor<6, 5>;
        case 7: return few ? kMadeFor<7, 5> : kMadeFor<7, 6>;
        case 8: return few ? kMadeFor<8, 5> : kMadeFor<8, 7>;
        case 9: return few ? kMadeFor<9, 5> : kMadeFor<9, 6>;
        case 10: return few ? kMadeFor<10, 5> : kMadeFor<10, 6>;
        case 11: return few ? kMadeFor<11, 5> : kMadeFor<11, 6>;
        default: return few ? kMadeFor<12, 5> : kMadeFor<12, 6>;
    }
}

inline void make_planes(const CodeTile& tile, int n_bits, const PlaneQuery& every, uint64_t* planes) {
    const PlaneLayout layout = plane_layout(n_bits, kPlaneWords);
    made_for(layout).make(tile, layout, every, planes);
}

inline void filter(const CodeTile& tile, const uint64_t* planes, int n_bits, const PlaneQuery& query, CandidateList& list) {
    const PlaneLayout layout = plane_layout(n_bits, kPlaneWords);
    made_for(layout).filter(tile, planes, layout, query, list);
}

inline int64_t from_queries([[maybe_unused]] int n_bits) {
#if defined(__AVX512VPOPCNTDQ__)
    // The scan of these widths keeps the query in registers and is as fast.
    if ((n_bits > 64 && n_bits <= 256) || (n_bits > 448 && n_bits <= 512)) return INT64_MAX;
    return 64;
#else
    return 16;
#endif
}

constexpr PlaneFilter plane_filter{kPlaneCodes, make_planes, filter, from_queries};

}  // namespace
}  // namespace fasthash
