// Compares the level whose function KERNEL names with bit-by-bit counting; built for every level and run in the tests, under an emulator where
// the processor is another.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../csrc/hamming/kernel.h"
#include "../csrc/hamming/plane_queries.h"

namespace fasthash {
HammingKernel KERNEL();
}

using namespace fasthash;

namespace {

int distance(const uint64_t* a, const uint64_t* b, int words) {
    int sum = 0;
    for (int w = 0; w < words; ++w) {
        for (int bit = 0; bit < 64; ++bit) sum += ((a[w] ^ b[w]) >> bit) & 1;
    }
    return sum;
}

uint64_t random_word() {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state ^ state >> 29;
}

void never_full(CandidateList&) { std::abort(); }

// Codes as a user has them and as planes of words, padded to whole groups with what no code holds.
struct Codes {
    int words;
    int64_t count, padded;
    std::vector<uint64_t> rows, planes;

    Codes(int n_words, int64_t n_codes)
        : words(n_words),
          count(n_codes),
          padded((n_codes + kTileGroup - 1) / kTileGroup * kTileGroup),
          rows(static_cast<size_t>(padded * words)) {
        for (uint64_t& word : rows) word = random_word();
    }
    uint64_t& word(int64_t j, int w) { return rows[static_cast<size_t>(j * words + w)]; }
    void make_planes() {
        planes.resize(rows.size());
        for (int64_t j = 0; j < padded; ++j) {
            for (int w = 0; w < words; ++w) planes[static_cast<size_t>(w * padded + j)] = word(j, w);
        }
    }
    CodeTile row_tile() const { return {rows.data(), words, 1, count, 1000}; }
    CodeTile plane_tile() const { return {planes.data(), 1, padded, count, 1000}; }
};

// Whether a search finds the codes below the limit, in order and with their distances.
template <class Search>
bool finds(const Codes& codes, const uint64_t* query, uint64_t limit, const Search& search) {
    std::vector<uint64_t> items(static_cast<size_t>(codes.padded + 2 * kTileGroup));
    CandidateList list{items.data(), 0, static_cast<int64_t>(items.size()), limit, 1, never_full};
    search(list);
    int64_t found = 0;
    for (int64_t j = 0; j < codes.count; ++j) {
        const uint64_t expected = static_cast<uint64_t>(distance(&codes.rows[static_cast<size_t>(j * codes.words)], query, codes.words));
        if (expected >= limit) continue;
        if (found >= list.size || items[static_cast<size_t>(found++)] != make_item(expected, static_cast<uint64_t>(1000 + j))) return false;
    }
    return found == list.size;
}

bool check(int words, int64_t count, bool rows) {
    Codes codes(words, count);
    codes.make_planes();
    std::vector<uint64_t> query(static_cast<size_t>(words));
    for (uint64_t& word : query) word = random_word();
    const CodeTile tile = rows ? codes.row_tile() : codes.plane_tile();
    const HammingKernel kernel = KERNEL();

    const bool found = finds(codes, query.data(), static_cast<uint64_t>(words) * 32,
                             [&](CandidateList& list) { kernel.scan(tile, words, query.data(), list); });
    if (rows || !found) return found;

    std::vector<int32_t> distances(static_cast<size_t>(count) + 1, -1);
    kernel.distances(tile, words, query.data(), distances.data());
    for (int64_t j = 0; j < count; ++j) {
        if (distances[static_cast<size_t>(j)] != distance(&codes.rows[static_cast<size_t>(j * words)], query.data(), words)) return false;
    }
    return distances.back() == -1;
}

int bits_of(int n_bits, int w) { return n_bits - 64 * w < 64 ? n_bits - 64 * w : 64; }
uint64_t ones(int n_bits) { return ~uint64_t{0} >> (64 - n_bits); }

// Sets bits [from, to) alone.
void set_bits(uint64_t* words, int n_words, int from, int to) {
    for (int w = 0; w < n_words; ++w) words[w] = 0;
    for (int bit = from; bit < to; ++bit) words[bit / 64] |= uint64_t{1} << bit % 64;
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

// The nearest three, by a list that is full again and again, inside a group of planes, too.
template <class Search>
bool finds_nearest(const Codes& codes, int n_bits, const uint64_t* query, const Search& search) {
    constexpr int64_t kNearest = 3, kPlaces = 8;
    uint64_t items[kPlaces + kTileGroup];
    CandidateList list{items, 0, kPlaces + kTileGroup, static_cast<uint64_t>(n_bits) + 1, kNearest, keep_nearest};
    search(list);
    keep_nearest(list);
    std::sort(items, items + list.size);
    std::vector<uint64_t> expected;
    for (int64_t j = 0; j < codes.count; ++j) {
        const int away = distance(&codes.rows[static_cast<size_t>(j * codes.words)], query, codes.words);
        expected.push_back(make_item(static_cast<uint64_t>(away), static_cast<uint64_t>(1000 + j)));
    }
    std::sort(expected.begin(), expected.end());
    if (codes.count > kNearest) expected.resize(kNearest);
    return std::vector<uint64_t>(items, items + list.size) == expected;
}

bool check_planes(int n_bytes, int64_t count) {
    const int n_bits = 8 * n_bytes, words = (n_bytes + 7) / 8;
    const HammingKernel kernel = KERNEL();
    const PlaneLayout layout = plane_layout(n_bits, kernel.planes.group / 64);

    Codes codes(words, count);
    for (int64_t j = 0; j < codes.padded; ++j) {
        if (j % 8 == 0) set_bits(&codes.word(j, 0), words, 0, static_cast<int>(random_word() % static_cast<uint64_t>(n_bits + 1)));
        for (int w = 0; w < words; ++w) {
            if (j % 11 == 3) codes.word(j, w) = j % 2 ? 0 : ~uint64_t{0};
            codes.word(j, w) &= ones(bits_of(n_bits, w));
        }
    }
    codes.make_planes();

    // Random, of no bits, all, exactly half, one more and one less.
    std::vector<uint64_t> queries(static_cast<size_t>(6 * words));
    for (int w = 0; w < words; ++w) queries[static_cast<size_t>(w)] = random_word() & ones(bits_of(n_bits, w));
    const int to[] = {0, n_bits, n_bits / 2, n_bits / 2 + 1, n_bits / 2 - 1};
    for (int i = 0; i < 5; ++i) set_bits(&queries[static_cast<size_t>((i + 1) * words)], words, 0, to[i]);
    std::vector<uint8_t> bytes;
    for (int i = 0; i < 6; ++i) {
        const uint8_t* code = reinterpret_cast<const uint8_t*>(&queries[static_cast<size_t>(i * words)]);
        bytes.insert(bytes.end(), code, code + n_bytes);
    }
    const QueryWords query_words({bytes.data(), 6}, n_bytes, 0, 6);
    const PlaneQueries plane_queries(query_words, 6, layout);

    const int64_t n_groups = (count + kernel.planes.group - 1) / kernel.planes.group;
    std::vector<uint64_t> planes(static_cast<size_t>(n_groups * layout.group_words) + 1, random_word());
    const uint64_t after = planes.back();
    kernel.planes.make(codes.plane_tile(), n_bits, plane_queries.every(), planes.data());
    if (planes.back() != after) return false;

    const int limits[] = {0, 1, 2, n_bits / 4, n_bits / 2 - 1, n_bits / 2, n_bits / 2 + 1, n_bits - 1, n_bits, n_bits + 1};
    for (int i = 0; i < 6; ++i) {
        const auto filter = [&](CandidateList& list) {
            kernel.planes.filter(codes.plane_tile(), planes.data(), n_bits, plane_queries[i], list);
        };
        if (!finds_nearest(codes, n_bits, query_words[i], filter)) return std::printf("query %d, the nearest\n", i), false;
        for (int limit : limits) {
            if (!finds(codes, query_words[i], static_cast<uint64_t>(limit), filter))
                return std::printf("query %d, limit %d\n", i, limit), false;
        }
    }
    return true;
}

}  // namespace

int main() {
    for (int words : {1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 64}) {
        for (int64_t count : {1, 7, 32, 33, 200}) {
            if (!check(words, count, false)) return std::printf("planes: %d words, %d codes\n", words, static_cast<int>(count)), 1;
            if (KERNEL().rows_up_to(words) > 0 && words > 1 && count % kTileGroup == 0 && !check(words, count, true)) {
                return std::printf("rows: %d words, %d codes\n", words, static_cast<int>(count)), 1;
            }
        }
    }
    for (int n_bytes : {1,  2,  3,  4,  5,  7,  8,  9,  12, 15,  16,  17,  23,  24,  31,  32,  40,
                        41, 48, 56, 64, 65, 72, 80, 88, 96, 104, 112, 120, 128, 200, 256, 257, 512}) {
        for (int64_t count : {1, 32, 127, 512, 1100}) {
            if (!check_planes(n_bytes, count)) return std::printf("bit planes: %d bytes, %d codes\n", n_bytes, static_cast<int>(count)), 1;
        }
    }
    const int64_t many = 17 * KERNEL().planes.group + 5;  // more than are filtered before any are taken
    for (int n_bytes : {3, 8, 9}) {
        if (!check_planes(n_bytes, many)) return std::printf("bit planes: %d bytes, many codes\n", n_bytes), 1;
    }
    std::puts("the level agrees");
    return 0;
}
