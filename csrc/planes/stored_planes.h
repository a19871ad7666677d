// What is done with stored planes, written once over registers of the level that a file is compiled for; fasthash/ops/planes/README.md describes it.
// Everything is in an anonymous namespace, so that no level's code can stand in for another's at link time.
#pragma once

#include "../hamming/plane_filter.h"
#include "kernel.h"

namespace fasthash {
namespace {

constexpr int64_t kPlaneStride = kPlaneLines * kLineWords;
constexpr int kLineRegisters = static_cast<int>(kLineWords) / kPlaneWords;

// Planes of a list, which fetch themselves some words later when they are read: one at a time, as many at once would make the reading wait.
struct FetchingPlanes {
    const int64_t* planes;
    int64_t ahead;

    FASTHASH_INLINE FetchingPlanes& operator+=(int n) {
        planes += n;
        return *this;
    }
};

struct FetchingQuery {
    FetchingPlanes planes;
    int n_blocks, n_small_blocks;
};

FASTHASH_INLINE Bits load_plane(const uint64_t* group, FetchingPlanes list, int at) {
    const uint64_t* const plane = group + list.planes[at];
    __builtin_prefetch(plane + list.ahead);
    return load_bits(plane);
}

FASTHASH_INLINE Bits load_mask(const uint8_t* from) {
    Bits bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    return bits;
}

// Byte j of x is bit j of eight numbers; byte i of the result is number i.
FASTHASH_INLINE uint64_t eight_numbers(uint64_t x) {
    uint64_t changed = (x ^ x >> 7) & 0x00aa00aa00aa00aau;
    x ^= changed ^ changed << 7;
    changed = (x ^ x >> 14) & 0x0000cccc0000ccccu;
    x ^= changed ^ changed << 14;
    changed = (x ^ x >> 28) & 0x00000000f0f0f0f0u;
    return x ^ changed ^ changed << 28;
}

// The filter's state where some codes passed.
template <int kCounters>
struct Passed {
    uint64_t sums[kCounters + 1][kPlaneWords];  // the counters
    const uint64_t* popcounts;
    Bits odd, complement, below;
    uint64_t limit;
    int64_t base;  // the position of the first code
};

// Takes the codes that passed, in order. Their distance is limit + x, or limit - 1 - x for a complemented query, where x is what the comparison
// found to be negative.
template <int kCounters>
__attribute__((noinline)) void take_passed(const Passed<kCounters>& passed, CandidateList& list) {
    constexpr int kPlanes = kCounters + 2;  // of x, or of -1 - x
    constexpr uint64_t kModulo = (uint64_t{1} << kPlanes) - 1;
    uint64_t planes[kPlanes][kPlaneWords];
    const Bits lowest = load_bits(passed.popcounts);
    Bits borrow = passed.odd & ~lowest;
    store_bits(planes[0], lowest ^ passed.odd ^ passed.complement);
    for (int i = 0; i < kCounters; ++i) {
        const Bits popcount = load_bits(passed.popcounts + (i + 1) * kPlaneStride), sum = load_bits(passed.sums[i]);
        store_bits(planes[i + 1], popcount ^ sum ^ borrow ^ passed.complement);
        borrow = subtract(popcount, sum, borrow);
    }
    store_bits(planes[kPlanes - 1], load_bits(passed.sums[kCounters]) ^ borrow ^ passed.complement);

    uint64_t words[kPlaneWords];
    store_bits(words, passed.below);
    for (int64_t lane = 0; lane < kPlaneWords; ++lane) {
        for (uint64_t left = words[lane]; left != 0;) {
            const int64_t first = __builtin_ctzll(left) / 8 * 8;
            const unsigned char* byte = reinterpret_cast<const unsigned char*>(planes[0] + lane) + first / 8;
            uint64_t low = 0, high = 0;
            for (int i = 0; i < kPlanes && i < 8; ++i) low |= uint64_t{byte[i * FASTHASH_REGISTER_BYTES]} << 8 * i;
            for (int i = 8; i < kPlanes; ++i) high |= uint64_t{byte[i * FASTHASH_REGISTER_BYTES]} << 8 * (i - 8);
            low = eight_numbers(low);
            high = eight_numbers(high);
            for (uint64_t taken = left >> first & 0xff; taken != 0; taken &= taken - 1) {
                const int64_t bit = __builtin_ctzll(taken);
                const uint64_t distance = (passed.limit + (low >> 8 * bit & 0xff) + ((high >> 8 * bit & 0xff) << 8)) & kModulo;
                if (distance >= list.limit) continue;
                list.items[list.size++] = make_item(distance, static_cast<uint64_t>(passed.base + 64 * lane + first + bit));
                if (list.capacity - list.size < kTileGroup) list.full(list);
            }
            left &= ~(uint64_t{0xff} << first);
        }
    }
}

template <int kCounters, int kBlockBits, bool kFetching>
void filter_tile(const StoredTile& tile, int n_bits, const StoredQuery& query, CandidateList& list) {
    const PlaneLayout layout = block_layout(n_bits);
    const Bits complement = all_lanes(query.complement ? ~uint64_t{0} : 0);
    uint64_t limit = list.limit;
    Start<kCounters> start(n_bits, query, limit);
    for (int64_t line = tile.first_line; line < tile.first_line + tile.n_lines; ++line) {
        const int64_t of_next = line + tile.lines_ahead < kPlaneLines ? 0 : layout.zeros - kPlaneStride;
        const int64_t ahead = tile.lines_ahead * kLineWords + of_next;
        for (int64_t i = 0; i < tile.n_fetched; ++i) __builtin_prefetch(tile.block + line * kLineWords + tile.fetched[i] + ahead);
        for (int part = 0; part < kLineRegisters; ++part) {
            const int64_t word = line * kLineWords + part * kPlaneWords;
            Bits eligible = all_lanes(~uint64_t{0});
            if (tile.mask) {
                eligible = load_mask(tile.mask + 8 * word);
                if (!any(eligible)) continue;
            }
            const uint64_t* const planes = tile.block + word;
            const uint64_t* const popcounts = planes + layout.popcounts;
            Bits counters[kCounters + 1];
#pragma GCC unroll 16
            for (int i = 0; i <= kCounters; ++i) counters[i] = start.counters[i];
            if (kFetching && part == 0) {
                add_query<kCounters, kBlockBits>(planes, FetchingQuery{{query.planes, ahead}, query.n_blocks, query.n_small_blocks},
                                                 counters);
            } else {
                add_query<kCounters, kBlockBits>(planes, query, counters);
            }
            Bits borrow = start.odd & ~load_bits(popcounts);
#pragma GCC unroll 16
            for (int i = 0; i < kCounters; ++i) borrow = subtract(load_bits(popcounts + (i + 1) * kPlaneStride), counters[i], borrow);
            const Bits below = ((borrow | counters[kCounters]) ^ complement) & eligible;
            if (__builtin_expect(any(below), 0)) {
                Passed<kCounters> passed;
                passed.popcounts = popcounts;
                passed.odd = start.odd;
                passed.complement = complement;
                passed.below = below;
                passed.limit = limit;
                passed.base = tile.base + 64 * word;
#pragma GCC unroll 16
                for (int i = 0; i <= kCounters; ++i) store_bits(passed.sums[i], counters[i]);
                take_passed(passed, list);
                if (list.limit != limit) start = Start<kCounters>(n_bits, query, limit = list.limit);
            }
        }
    }
}

// Word `at` of a code, the bytes past its end zero.
FASTHASH_INLINE uint64_t code_word(const uint8_t* code, int64_t n_bytes, int64_t at) {
    uint64_t word = 0;
    if (n_bytes - 8 * at >= 8) {
        __builtin_memcpy(&word, code + 8 * at, 8);
    } else {
        for (int64_t i = 8 * at; i < n_bytes; ++i) word |= uint64_t{code[i]} << 8 * (i % 8);
    }
    return word;
}

FASTHASH_INLINE void put_code_word(uint64_t word, uint8_t* code, int64_t n_bytes, int64_t at) {
    if (n_bytes - 8 * at >= 8) {
        __builtin_memcpy(code + 8 * at, &word, 8);
    } else {
        for (int64_t i = 8 * at; i < n_bytes; ++i) code[i] = static_cast<uint8_t>(word >> 8 * (i % 8));
    }
}

// Where a register's 64 x kPlaneWords matrix has the word of a code: that of code 64 l + i is lane l of register i.
FASTHASH_INLINE int64_t place(int64_t code) { return code % 64 * kPlaneWords + code / 64; }

// The bits of a register's codes [begin, end).
FASTHASH_INLINE Bits bits_between(int64_t begin, int64_t end) {
    uint64_t words[kPlaneWords];
    for (int64_t lane = 0; lane < kPlaneWords; ++lane) {
        const int64_t from = begin - 64 * lane, to = end - 64 * lane;
        const uint64_t below_end = to <= 0 ? 0 : to >= 64 ? ~uint64_t{0} : (uint64_t{1} << to) - 1;
        const uint64_t below_begin = from <= 0 ? 0 : from >= 64 ? ~uint64_t{0} : (uint64_t{1} << from) - 1;
        words[lane] = below_end & ~below_begin;
    }
    return load_bits(words);
}

FASTHASH_INLINE void put_bits(uint64_t* to, Bits bits, Bits where) { store_bits(to, select(where, bits, load_bits(to))); }

// Writes a register's codes [begin, end).
template <int kCounters, int kBlockBits>
void write_column(const uint8_t* codes, int n_bits, int64_t begin, int64_t end, const StoredQuery& every, uint64_t* planes) {
    const Bits where = bits_between(begin, end);
    const int64_t n_bytes = n_bits / 8;
    uint64_t words[64 * kPlaneWords] = {};
    for (int bit = 0; bit < n_bits; bit += 64) {
        for (int64_t code = begin; code < end; ++code) words[place(code)] = code_word(codes + (code - begin) * n_bytes, n_bytes, bit / 64);
        Bits registers[64];
        for (int i = 0; i < 64; ++i) registers[i] = load_bits(words + i * kPlaneWords);
        transpose(registers);
        for (int i = 0; i < 64 && bit + i < n_bits; ++i) {
            put_bits(planes + (bit + i) * kPlaneStride, registers[i], where);
        }
    }
    Bits counters[kCounters + 1] = {};
    for (int i = 0; i < kCounters; ++i) counters[i] = -(all_lanes(static_cast<uint64_t>(n_bits / 2)) >> i & 1);
    add_query<kCounters, kBlockBits>(planes, every, counters);
    for (int i = 0; i <= kCounters; ++i) put_bits(planes + (n_bits + i) * kPlaneStride, counters[i], where);
}

template <int kCounters, int kBlockBits>
struct StoredFor {
    static void write(const uint8_t* codes, int n_bits, int64_t first, int64_t count, const StoredQuery& every, uint64_t* block) {
        for (int64_t at = first; at < first + count;) {
            const int64_t column = at / kPlaneCodes, begin = at % kPlaneCodes;
            const int64_t end = begin + first + count - at < kPlaneCodes ? begin + first + count - at : kPlaneCodes;
            write_column<kCounters, kBlockBits>(codes + (at - first) * (n_bits / 8), n_bits, begin, end, every,
                                                block + column * kPlaneWords);
            at += end - begin;
        }
    }

    static void filter(const StoredTile& tile, int n_bits, const StoredQuery& query, CandidateList& list) {
        if (tile.fetches_its_own) return filter_tile<kCounters, kBlockBits, true>(tile, n_bits, query, list);
        filter_tile<kCounters, kBlockBits, false>(tile, n_bits, query, list);
    }
};

inline void write_planes(const uint8_t* codes, int n_bits, int64_t first, int64_t count, const StoredQuery& every, uint64_t* block) {
    visit_layout(block_layout(n_bits), [&](auto numbers) {
        using Of = decltype(numbers);
        StoredFor<Of::kCounters, Of::kBlockBits>::write(codes, n_bits, first, count, every, block);
    });
}

inline void filter_planes(const StoredTile& tile, int n_bits, const StoredQuery& query, CandidateList& list) {
    visit_layout(block_layout(n_bits), [&](auto numbers) {
        using Of = decltype(numbers);
        StoredFor<Of::kCounters, Of::kBlockBits>::filter(tile, n_bits, query, list);
    });
}

inline void read_planes(const uint64_t* block, int n_bits, int64_t first, int64_t count, uint8_t* codes) {
    const int64_t n_bytes = n_bits / 8;
    for (int64_t at = first; at < first + count;) {
        const int64_t column = at / kPlaneCodes, begin = at % kPlaneCodes;
        const int64_t end = begin + first + count - at < kPlaneCodes ? begin + first + count - at : kPlaneCodes;
        const uint64_t* const planes = block + column * kPlaneWords;
        uint8_t* const out = codes + (at - first) * n_bytes;
        for (int bit = 0; bit < n_bits; bit += 64) {
            Bits registers[64];
            for (int i = 0; i < 64; ++i) registers[i] = bit + i < n_bits ? load_bits(planes + (bit + i) * kPlaneStride) : Bits{};
            transpose(registers);
            uint64_t words[64 * kPlaneWords];
            for (int i = 0; i < 64; ++i) store_bits(words + i * kPlaneWords, registers[i]);
            for (int64_t code = begin; code < end; ++code)
                put_code_word(words[place(code)], out + (code - begin) * n_bytes, n_bytes, bit / 64);
        }
        at += end - begin;
    }
}

}  // namespace
}  // namespace fasthash
