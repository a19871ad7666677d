// Compares the level whose function KERNEL names with bit-by-bit counting; built by a cross compiler and run under an emulator in the tests.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../csrc/hamming/kernel.h"

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

bool check(int words, int64_t count, bool rows) {
    const int64_t padded = (count + kTileGroup - 1) / kTileGroup * kTileGroup;
    std::vector<uint64_t> codes(static_cast<size_t>(padded * words)), planes(codes.size()), query(static_cast<size_t>(words));
    for (uint64_t& word : codes) word = random_word();
    for (uint64_t& word : query) word = random_word();
    for (int64_t j = 0; j < padded; ++j) {
        for (int w = 0; w < words; ++w) planes[static_cast<size_t>(w * padded + j)] = codes[static_cast<size_t>(j * words + w)];
    }
    const CodeTile tile = rows ? CodeTile{codes.data(), words, 1, count, 1000} : CodeTile{planes.data(), 1, padded, count, 1000};
    const HammingKernel kernel = KERNEL();

    std::vector<uint64_t> items(static_cast<size_t>(padded) + 2 * kTileGroup);
    const uint64_t limit = static_cast<uint64_t>(words) * 32;
    CandidateList list{items.data(), 0, static_cast<int64_t>(items.size()), limit, 1, never_full};
    kernel.scan(tile, words, query.data(), list);
    int64_t found = 0;
    for (int64_t j = 0; j < count; ++j) {
        const uint64_t expected = static_cast<uint64_t>(distance(&codes[static_cast<size_t>(j * words)], query.data(), words));
        if (expected >= limit) continue;
        if (found >= list.size || items[static_cast<size_t>(found++)] != make_item(expected, static_cast<uint64_t>(1000 + j))) return false;
    }
    if (found != list.size) return false;
    if (rows) return true;

    std::vector<int32_t> distances(static_cast<size_t>(count) + 1, -1);
    kernel.distances(tile, words, query.data(), distances.data());
    for (int64_t j = 0; j < count; ++j) {
        if (distances[static_cast<size_t>(j)] != distance(&codes[static_cast<size_t>(j * words)], query.data(), words)) return false;
    }
    return distances.back() == -1;
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
    std::puts("the level agrees");
    return 0;
}
