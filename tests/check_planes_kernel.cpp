// Compares stored planes at the level whose function KERNEL names with bit-by-bit counting; built for every level and run in the tests, under an
// emulator where the processor is another.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "../csrc/aligned_array.h"
#include "../csrc/planes/stored_queries.h"

namespace fasthash {
PlanesKernel KERNEL();
}

using namespace fasthash;

namespace {

constexpr int64_t kBase = 1000;  // the position of a block's first code

uint8_t random_byte() {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint8_t>(state >> 56);
}

// Codes in rows; among them zeros, ones, and copies of a query.
std::vector<uint8_t> random_codes(int64_t count, int n_bytes, const uint8_t* query) {
    std::vector<uint8_t> codes(static_cast<size_t>(count * n_bytes));
    for (int64_t j = 0; j < count; ++j) {
        for (int byte = 0; byte < n_bytes; ++byte) {
            const uint8_t kinds[] = {0, 0xff, query[byte], random_byte(), static_cast<uint8_t>(query[byte] ^ (random_byte() & 0x11))};
            codes[static_cast<size_t>(j * n_bytes + byte)] = kinds[j % 11 < 5 ? j % 11 : 3];
        }
    }
    return codes;
}

bool bit_of(const uint8_t* bits, int64_t i) { return bits[i / 8] >> i % 8 & 1; }

uint64_t distance(const uint8_t* a, const uint8_t* b, int n_bits) {
    uint64_t sum = 0;
    for (int bit = 0; bit < n_bits; ++bit) sum += bit_of(a, bit) != bit_of(b, bit);
    return sum;
}

bool by_rank(uint64_t a, uint64_t b) { return item_rank(a) < item_rank(b); }

// Cuts a list to its k nearest.
void keep_nearest(CandidateList& list) {
    if (list.size < list.k) return;
    std::sort(list.items, list.items + list.size);
    list.size = list.k;
    list.limit = item_distance(list.items[list.k - 1]);
    std::sort(list.items, list.items + list.size, by_rank);
}

void never_full(CandidateList&) { std::abort(); }

// Whether the planes of a block are those of the codes, with their counts, and zeros after them.
bool has_planes(const uint64_t* block, const std::vector<uint8_t>& codes, int64_t count, int n_bits) {
    const PlaneLayout layout = block_layout(n_bits);
    for (int64_t place = 0; place < count + kLineCodes; ++place) {
        const uint8_t* code = place < count ? codes.data() + place * (n_bits / 8) : nullptr;
        int popcount = 0;
        for (int bit = 0; code && bit < n_bits; ++bit) popcount += bit_of(code, bit);
        for (int plane = 0; plane < block_planes(n_bits); ++plane) {
            const bool is = block[plane * layout.plane_words + place / 64] >> place % 64 & 1;
            const bool expected = code && (plane < n_bits ? bit_of(code, plane) : (popcount + n_bits / 2) >> (plane - n_bits) & 1);
            if (is != expected) return false;
        }
    }
    return true;
}

bool check(int n_bytes, int64_t count) {
    const int n_bits = 8 * n_bytes;
    const PlanesKernel kernel = KERNEL();

    // Random, of no bits, all, and exactly half, then one more and one less.
    std::vector<uint8_t> bytes(static_cast<size_t>(6 * n_bytes));
    for (int byte = 0; byte < n_bytes; ++byte) bytes[static_cast<size_t>(byte)] = random_byte();
    const int ones[] = {0, 0, n_bits, n_bits / 2, n_bits / 2 + 1, n_bits / 2 - 1};
    for (int i = 1; i < 6; ++i) {
        for (int bit = 0; bit < ones[i]; ++bit) bytes[static_cast<size_t>(i * n_bytes + bit / 8)] |= static_cast<uint8_t>(1 << bit % 8);
    }
    StoredQueries queries(QueryWords({bytes.data(), 6}, n_bytes, 0, 6), 6, n_bits);

    const std::vector<uint8_t> codes = random_codes(count, n_bytes, bytes.data());
    AlignedArray<uint64_t> block(block_words(n_bits));
    std::fill_n(block.get(), block_words(n_bits), 0);
    StoredQueries every = StoredQueries::every(n_bits);
    every.enter(block.get());
    const int64_t parts[] = {0, std::min<int64_t>(count, 3), count / 2, count};
    std::vector<uint8_t> before(codes.size(), 0xaa);
    kernel.write(before.data(), n_bits, 0, count, every[0], block.get());  // is written over
    for (int i : {1, 0, 2}) {
        const int64_t first = parts[i], n = std::max<int64_t>(0, parts[i + 1] - first);
        kernel.write(codes.data() + first * n_bytes, n_bits, first, n, every[0], block.get());
    }
    if (!has_planes(block.get(), codes, count, n_bits)) return std::puts("write"), false;
    std::vector<uint8_t> read(codes.size());
    kernel.read(block.get(), n_bits, 0, count / 3, read.data());
    kernel.read(block.get(), n_bits, count / 3, count - count / 3, read.data() + count / 3 * n_bytes);
    if (read != codes) return std::puts("read"), false;

    std::vector<uint8_t> mask(kBlockCodes / 8);
    for (int64_t j = 0; j < count; ++j) mask[static_cast<size_t>(j / 8)] |= static_cast<uint8_t>((j % 3 != 0 && j / 128 != 1) << j % 8);
    const int64_t n_lines = (count + kLineCodes - 1) / kLineCodes;
    queries.enter(block.get());
    const int limits[] = {0, 1, 2, n_bits / 4, n_bits / 2, n_bits / 2 + 1, n_bits - 1, n_bits, n_bits + 1};
    for (int i = 0; i < 6; ++i) {
        const uint8_t* query = bytes.data() + i * n_bytes;
        std::vector<uint64_t> every_item;
        for (int64_t j = 0; j < count; ++j) {
            if (bit_of(mask.data(), j))
                every_item.push_back(make_item(distance(query, codes.data() + j * n_bytes, n_bits), static_cast<uint64_t>(kBase + j)));
        }
        const std::vector<int64_t>& fetched = queries.planes_read();
        const StoredTile tile{block.get(), mask.data(), kBase, 0, n_lines, fetched.data(), static_cast<int64_t>(fetched.size()),
                              2,           i % 2 == 0};
        for (int limit : limits) {
            std::vector<uint64_t> items(static_cast<size_t>(count + 2 * kTileGroup)), expected;
            CandidateList list{items.data(), 0, count + 2 * kTileGroup, static_cast<uint64_t>(limit), 1, never_full};
            kernel.filter(tile, n_bits, queries[i], list);
            items.resize(static_cast<size_t>(list.size));
            for (uint64_t item : every_item) {
                if (item_distance(item) < static_cast<uint64_t>(limit)) expected.push_back(item);
            }
            if (items != expected) return std::printf("query %d, limit %d\n", i, limit), false;
        }
        constexpr int64_t kNearest = 3, kPlaces = 8;
        uint64_t items[kPlaces + kTileGroup];
        CandidateList list{items, 0, kPlaces + kTileGroup, static_cast<uint64_t>(n_bits) + 1, kNearest, keep_nearest};
        kernel.filter(tile, n_bits, queries[i], list);
        keep_nearest(list);
        std::sort(items, items + list.size);
        std::sort(every_item.begin(), every_item.end());
        every_item.resize(std::min(every_item.size(), static_cast<size_t>(kNearest)));
        if (std::vector<uint64_t>(items, items + list.size) != every_item) return std::printf("query %d, the nearest\n", i), false;
    }
    return true;
}

}  // namespace

int main() {
    for (int n_bytes : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 64, 65, 96, 128, 129, 256, 257, 512}) {
        for (int64_t count : {int64_t{1}, int64_t{77}, n_bytes < 100 ? int64_t{1100} : int64_t{600}}) {
            if (!check(n_bytes, count)) return std::printf("%d bytes, %d codes\n", n_bytes, static_cast<int>(count)), 1;
        }
    }
    std::puts("the level agrees");
    return 0;
}
