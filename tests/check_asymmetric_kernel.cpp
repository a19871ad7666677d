// Compares the filter of weighted planes at the level whose function KERNEL names with bit-by-bit counting; built for every level and run in the
// tests, under an emulator where the processor is another.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../csrc/aligned_array.h"
#include "../csrc/asymmetric/weighted_queries.h"
#include "../csrc/hamming/code_set.h"
#include "../csrc/rounding.h"

namespace fasthash {
AsymmetricKernel KERNEL();
}

using namespace fasthash;

namespace {

constexpr int64_t kBase = 1000;  // the rank of the first code
constexpr int64_t kQueries = 6;

uint64_t random_word() {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 32 ^ state << 32;
}

void never_full(CandidateList&) { std::abort(); }

// Of many sizes: small ones, those that all have every bit, of one sign, few that are not 0, and none.
std::vector<int8_t> random_weights(int n_bits) {
    std::vector<int8_t> weights;
    for (int64_t i = 0; i < kQueries; ++i) {
        for (int bit = 0; bit < n_bits; ++bit) {
            const int random = static_cast<int>(random_word() & 0xff);
            const int kinds[kQueries] = {random % 15 - 7,   random & 1 ? 127 : -127, random % 100, random < 250 ? 0 : -3, 0,
                                         random % 255 - 127};
            weights.push_back(static_cast<int8_t>(kinds[i]));
        }
    }
    return weights;
}

bool check(int n_bits, int64_t count) {
    const AsymmetricKernel kernel = KERNEL();
    const int64_t n_words = ceil_div(n_bits, 64), stride = round_up(count, kTileGroup);
    const std::vector<int8_t> weights = random_weights(n_bits);
    WeightedQueries<uint16_t> queries({reinterpret_cast<const uint8_t*>(weights.data()), kQueries}, n_bits, 0, kQueries, kernel.group / 64);

    std::vector<uint64_t> words(static_cast<size_t>(n_words * stride));
    for (uint64_t& word : words) word = random_word();
    const CodeTile tile{words.data(), 1, stride, count, kBase};
    AlignedArray<uint64_t> planes(ceil_div(count, kernel.group) * (n_bits + 1) * kernel.group / 64);
    kernel.make(tile, n_bits, planes.get());

    for (int64_t i = 0; i < kQueries; ++i) {
        std::vector<uint64_t> distances;
        uint64_t total = 0;
        for (int bit = 0; bit < n_bits; ++bit) total += static_cast<uint64_t>(std::abs(weights[static_cast<size_t>(i * n_bits + bit)]));
        for (int64_t j = 0; j < count; ++j) {
            distances.push_back(0);
            for (int bit = 0; bit < n_bits; ++bit) {
                const int weight = weights[static_cast<size_t>(i * n_bits + bit)];
                const bool one = words[static_cast<size_t>(bit / 64 * stride + j)] >> bit % 64 & 1;
                if (one != (weight > 0)) distances.back() += static_cast<uint64_t>(std::abs(weight));
            }
        }
        for (int left_out = 0; left_out < 9; ++left_out) {
            for (uint64_t limit : {uint64_t{0}, uint64_t{1}, total / 4, total / 2, total / 2 + 1, total, total + 1, total + 1000}) {
                std::vector<uint64_t> items(static_cast<size_t>(count + 2 * kTileGroup)), expected;
                CandidateList list{items.data(), 0, count + 2 * kTileGroup, limit, 1, never_full};
                const int64_t n_passed = kernel.filter(tile, planes.get(), n_bits, queries[i], list);
                items.resize(static_cast<size_t>(list.size));
                for (int64_t j = 0; j < count; ++j) {
                    const uint64_t distance = distances[static_cast<size_t>(j)];
                    if (distance < limit) expected.push_back(make_item(distance, static_cast<uint64_t>(kBase + j)));
                }
                if (items != expected || n_passed < list.size || n_passed > count) {
                    return std::printf("query %d, limit %d, %d times more left out\n", static_cast<int>(i), static_cast<int>(limit),
                                       left_out),
                           false;
                }
                if (left_out == 0 && n_passed != list.size) return std::puts("codes passed that are not below the limit"), false;
            }
            queries.filtered(i, 1'000'000, 0);
        }
    }
    return true;
}

}  // namespace

int main() {
    for (int n_bits : {8, 16, 24, 56, 64, 72, 128, 136, 256, 384, 520, 1024, 4096}) {
        for (int64_t count : {1, 77, n_bits < 1000 ? 1100 : 600}) {
            if (!check(n_bits, count)) return std::printf("%d bits, %d codes\n", n_bits, static_cast<int>(count)), 1;
        }
    }
    std::puts("the level agrees");
    return 0;
}
