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
// Adds two planes to a plane of sums and returns the carries.
FASTHASH_INLINE Bits add(Bits& sum, Bits a, Bits b) {
#if defined(__AVX512VPOPCNTDQ__)
    const Bits carry = logic<0xE8>(a, sum, b);
    sum = logic<0x96>(sum, a, b);
    return carry;
#else
    // From the new sum: no register need be copied, as each instruction overwrites what nothing else reads. Older processors, of four
    // instructions a cycle, are spared a tenth of them; newer ones copy beside the rest but wait for one instruction after the other.
    sum = logic<0x96>(sum, a, b);
    return logic<0xD4>(a, b, sum);
#endif
}
// The borrow of x - y - borrow.
FASTHASH_INLINE Bits subtract(Bits x, Bits y, Bits borrow) { return logic<0x8E>(x, y, borrow); }
FASTHASH_INLINE bool any(Bits a) { return _mm512_test_epi64_mask((__m512i)a, (__m512i)a) != 0; }

#else

#if defined(__aarch64__)
FASTHASH_INLINE Bits select(Bits where, Bits a, Bits b) { return (Bits)vbslq_u64((uint64x2_t)where, (uint64x2_t)a, (uint64x2_t)b); }
FASTHASH_INLINE Bits add(Bits& sum, Bits a, Bits b) {
    const Bits different = sum ^ a, carry = select(different, b, a);
    sum = different ^ b;
    return carry;
}
#else
FASTHASH_INLINE Bits select(Bits where, Bits a, Bits b) { return b ^ (where & (a ^ b)); }
// Of the ways to write it in five instructions, the one that compilers spill least for.
FASTHASH_INLINE Bits add(Bits& sum, Bits a, Bits b) {
    const Bits different = sum ^ b, unequal = different | (sum ^ a);
    sum = different ^ a;
    return unequal ^ sum;
}
#endif
#if defined(__AVX2__)
FASTHASH_INLINE bool any(Bits a) { return !_mm256_testz_si256((__m256i)a, (__m256i)a); }
#else
FASTHASH_INLINE bool any(Bits a) { return (a[0] | a[1]) != 0; }
#endif
FASTHASH_INLINE Bits subtract(Bits x, Bits y, Bits borrow) { return select(x ^ y, y, borrow); }

#endif

// Anything where there is none.
FASTHASH_INLINE int lowest_bit(uint64_t word) { return __builtin_ctzll(word | uint64_t{1} << 63); }

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

// Adds 2^kBlockBits planes of a list to kCounters + 1 counters, the last of which stays zero or one.
template <int kCounters, int kBlockBits, class Planes>
FASTHASH_INLINE void add_block(const uint64_t* group, Planes planes, Bits* counters) {
    Bits sums[kBlockBits];
    add_planes<kBlockBits>(group, planes, sums);
    Bits carry = load_plane(group, planes, (1 << kBlockBits) - 1);
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

template <int kCounters, int kBlockBits, class Query>
FASTHASH_INLINE void add_query(const uint64_t* group, const Query& query, Bits* counters) {
    auto planes = query.planes;
    for (int i = 0; i < query.n_blocks; ++i, planes += 1 << kBlockBits) add_block<kCounters, kBlockBits>(group, planes, counters);
    for (int i = 0; i < query.n_small_blocks; ++i, planes += kSmallBlock) add_block<kCounters, kSmallBlockBits>(group, planes, counters);
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

// The registers of codes, kPlaneWords each and numbered from the first of several groups, in which a mask tells one at least, in order.
template <int kGroups>
struct ToldRegisters {
    static constexpr int kAtOnce = 4;  // how many a group has is random: a branch on it would often go another way than the last
    uint16_t numbers[64 * kGroups + kAtOnce];
    int count = 0;

    // Bit i of a word is a code of the group's register i.
    FASTHASH_INLINE void add(int group, Bits mask) {
        uint64_t words[kPlaneWords], of_any = 0;
        store_bits(words, mask);
        for (uint64_t word : words) of_any |= word;
        for (int left = static_cast<int>(popcount(of_any)); left > 0; left -= kAtOnce) {
            for (int i = 0; i < kAtOnce; ++i, of_any &= of_any - 1) {
                numbers[count + i] = static_cast<uint16_t>(64 * group + lowest_bit(of_any));
            }
            count += left < kAtOnce ? left : kAtOnce;
        }
    }
};

// Takes the codes of a register that are below the limit.
FASTHASH_INLINE void take_codes(const CodeTile& tile, int64_t first, int n_words, const uint64_t* query, CandidateList& list) {
    const int64_t before = list.size;
    for (int64_t code = first; code < first + kPlaneWords && code < tile.count; code += Lanes::kLanes) {
        const Lanes::Counts counts = distances_of_register(tile, code, n_words, query);
        list.size += Lanes::take(counts, Lanes::limit(list.limit), tile.base + code, tile.count - code, list.items + list.size);
    }
    if (tile.mask) drop_masked(tile, before, list);
    if (__builtin_expect(list.capacity - list.size < kTileGroup, 0)) list.full(list);
}

FASTHASH_INLINE CodeTile part_of(const CodeTile& tile, int64_t first, int64_t most) {
    const int64_t left = tile.count - first;
    return {tile.words + first * tile.code_stride,      tile.code_stride, tile.word_stride, left < most ? left : most, tile.base + first,
            tile.mask ? tile.mask + first / 8 : nullptr};
}

// Where the codes of a group are below the limit that the counters start from.
template <int kCounters, int kBlockBits>
FASTHASH_INLINE Bits filter_group(const uint64_t* planes, const PlaneLayout& layout, const PlaneQuery& query, const Start<kCounters>& start,
                                  Bits complement) {
    Bits counters[kCounters + 1];
#pragma GCC unroll 16
    for (int i = 0; i <= kCounters; ++i) counters[i] = start.counters[i];
    add_query<kCounters, kBlockBits>(planes, query, counters);

    const uint64_t* popcounts = planes + layout.popcounts;
    Bits borrow = start.odd & ~load_bits(popcounts);
#pragma GCC unroll 16
    for (int i = 0; i < kCounters; ++i) borrow = subtract(load_bits(popcounts + (i + 1) * kPlaneWords), counters[i], borrow);
    return (borrow | counters[kCounters]) ^ complement;
}

// Several groups are filtered before the codes of any are taken, as a branch on what was just computed waits for it.
template <int kCounters, int kBlockBits>
void filter_codes(const CodeTile& tile, const uint64_t* planes, const PlaneLayout& layout, const PlaneQuery& query, CandidateList& list) {
    constexpr int kGroups = 8;
    const Bits complement = all_lanes(query.complement ? ~uint64_t{0} : 0);
    const int n_words = static_cast<int>(ceil_div(layout.n_bits, 64));
    for (int64_t first = 0; first < tile.count; first += kGroups * kPlaneCodes) {
        const Start<kCounters> start(layout.n_bits, query, list.limit);
        const int64_t left = ceil_div(tile.count - first, kPlaneCodes), n_groups = left < kGroups ? left : kGroups;
        Bits below[kGroups];
        uint32_t of_any = 0;
        for (int64_t i = 0; i < n_groups; ++i, planes += layout.group_words) {
            below[i] = filter_group<kCounters, kBlockBits>(planes, layout, query, start, complement);
            of_any |= static_cast<uint32_t>(any(below[i])) << i;
        }
        ToldRegisters<kGroups> told;
        for (; of_any != 0; of_any &= of_any - 1) told.add(__builtin_ctz(of_any), below[__builtin_ctz(of_any)]);
        if (told.count > 32 * n_groups) {  // more than every other register
            scan(part_of(tile, first, n_groups * kPlaneCodes), n_words, query.words, list);
        } else {
            for (int i = 0; i < told.count; ++i) take_codes(tile, first + told.numbers[i] * kPlaneWords, n_words, query.words, list);
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

// The planes of the bits of a group, and one of zeros.
inline void transpose_group(const CodeTile& tile, int64_t first, int n_bits, uint64_t* planes, uint64_t* zeros) {
    const int64_t readable = round_up(tile.count, kTileGroup) - first;
    for (int bit = 0; bit < n_bits; bit += 64) {
        const uint64_t* words = tile.words + first + bit / 64 * tile.word_stride;
        Bits registers[64];
        for (int i = 0; i < 64; ++i) registers[i] = i * kPlaneWords < readable ? load_bits(words + i * kPlaneWords) : Bits{};
        transpose(registers);
        for (int i = 0; i < 64 && bit + i < n_bits; ++i) store_bits(planes + (bit + i) * kPlaneWords, registers[i]);
    }
    store_bits(zeros, Bits{});
}

template <int kCounters, int kBlockBits>
void make_group(const CodeTile& tile, int64_t first, const PlaneLayout& layout, const PlaneQuery& every, uint64_t* planes) {
    transpose_group(tile, first, layout.n_bits, planes, planes + layout.zeros);
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

template <int kCountersOf, int kBlockBitsOf>
struct LayoutNumbers {
    static constexpr int kCounters = kCountersOf, kBlockBits = kBlockBitsOf;
};

// Calls visit(LayoutNumbers<...>{}) for a layout's numbers at compile time.
template <class Visit>
void visit_layout(const PlaneLayout& layout, const Visit& visit) {
    const bool few = layout.block == 32;
    switch (layout.counters) {
        case 5: return visit(LayoutNumbers<5, 4>{});
        case 6: return few ? visit(LayoutNumbers<6, 5>{}) : visit(LayoutNumbers<6, 4>{});
        case 7: return few ? visit(LayoutNumbers<7, 5>{}) : visit(LayoutNumbers<7, 6>{});
        case 8: return few ? visit(LayoutNumbers<8, 5>{}) : visit(LayoutNumbers<8, 6>{});
        case 9: return few ? visit(LayoutNumbers<9, 5>{}) : visit(LayoutNumbers<9, 6>{});
        case 10: return few ? visit(LayoutNumbers<10, 5>{}) : visit(LayoutNumbers<10, 6>{});
        case 11: return few ? visit(LayoutNumbers<11, 5>{}) : visit(LayoutNumbers<11, 6>{});
        default: return few ? visit(LayoutNumbers<12, 5>{}) : visit(LayoutNumbers<12, 6>{});
    }
}

inline void make_planes(const CodeTile& tile, int n_bits, const PlaneQuery& every, uint64_t* planes) {
    const PlaneLayout layout = plane_layout(n_bits, kPlaneWords);
    visit_layout(layout, [&](auto numbers) {
        using Of = decltype(numbers);
        make_groups<Of::kCounters, Of::kBlockBits>(tile, layout, every, planes);
    });
}

inline void filter(const CodeTile& tile, const uint64_t* planes, int n_bits, const PlaneQuery& query, CandidateList& list) {
    const PlaneLayout layout = plane_layout(n_bits, kPlaneWords);
    visit_layout(layout, [&](auto numbers) {
        using Of = decltype(numbers);
        filter_codes<Of::kCounters, Of::kBlockBits>(tile, planes, layout, query, list);
    });
}

inline int64_t from_queries([[maybe_unused]] int n_bits) {
#if defined(__AVX512VPOPCNTDQ__)
    return n_bits > 96 && n_bits <= 256 ? 128 : 48;  // the scan of two to four words keeps the query in registers
#else
    return kHasPopcount ? 10 : 3;
#endif
}

constexpr PlaneFilter plane_filter(double comparison_cost) { return {kPlaneCodes, make_planes, filter, from_queries, comparison_cost}; }

}  // namespace
}  // namespace fasthash
