#include "code_set.h"

#include <algorithm>
#include <cstring>

#include "../popcount.h"
#include "../rounding.h"

namespace fasthash {

namespace {

constexpr int64_t kCacheLine = 8;            // in words
constexpr int64_t kScatteredAhead = 8 * 64;  // codes that are gathered are prefetched so far ahead
constexpr uint64_t kAllEligible = ~uint64_t{0};

int64_t tile_codes(int n_words, int64_t bytes, int64_t group) {
    const int64_t fitting = bytes / (8 * n_words) / group * group;
    return std::max({fitting, group, 2 * kTileGroup});
}

// How many codes can be read as whole words without leaving the set's memory.
int64_t overreadable(const CodeSet& set) {
    const int64_t first_of_last = set.n_codes * set.n_bytes - 8 * set.n_words();
    return first_of_last < 0 ? 0 : first_of_last / set.n_bytes + 1;
}

int64_t count(uint64_t bits) { return static_cast<int64_t>(popcount(bits)); }

// Whether a whole block of a mask is ones, as most are where few codes were removed.
bool all_eligible(const uint8_t* block) {
    uint64_t words[Mask::kBlock / 64], all = kAllEligible;
    std::memcpy(words, block, sizeof words);
    for (uint64_t word : words) all &= word;
    return all == kAllEligible;
}

}  // namespace

Mask::Mask(const uint8_t* bits, int64_t n_codes) : bits_(bits), n_codes_(n_codes) {
    const int64_t n_blocks = ceil_div(n_codes, kBlock);
    eligible_before_.assign(static_cast<size_t>(n_blocks) + 1, 0);
    int64_t eligible = 0;
    for (int64_t block = 0, first = 0; block < n_blocks; ++block, first += kBlock) {
        if (first + kBlock <= n_codes && all_eligible(bits + first / 8)) {
            eligible += kBlock;
            n_full_ += kBlock / 64;
        } else {
            const int64_t n_words = std::min(kBlock, n_codes - first) / 64;  // the last one may go on past the codes
            eligible += count_ones(bits + first / 8, 8 * n_words);
            for (int64_t i = 0; i < n_words; ++i) n_full_ += std::memcmp(bits + first / 8 + 8 * i, &kAllEligible, 8) == 0;
            if (first + 64 * n_words < std::min(first + kBlock, n_codes)) eligible += count(word(first / 64 + n_words));
        }
        eligible_before_[static_cast<size_t>(block) + 1] = eligible;
    }
}

uint64_t Mask::word(int64_t i) const {
    const int64_t codes_left = n_codes_ - i * 64;
    uint64_t bits = 0;
    std::memcpy(&bits, bits_ + i * 8, static_cast<size_t>(std::min<int64_t>(8, ceil_div(codes_left, 8))));
    return codes_left >= 64 ? bits : bits & ((uint64_t{1} << codes_left) - 1);
}

int64_t Mask::id(int64_t rank) const {
    const auto after = std::upper_bound(eligible_before_.begin(), eligible_before_.end(), rank);
    const int64_t block = after - eligible_before_.begin() - 1;
    int64_t left = rank - eligible_before_[static_cast<size_t>(block)];
    int64_t i = block * kBlock / 64;
    uint64_t bits = word(i);
    for (; left >= count(bits); bits = word(++i)) left -= count(bits);
    for (; left > 0; --left) bits &= bits - 1;
    return i * 64 + __builtin_ctzll(bits);
}

void code_to_words(const uint8_t* code, int n_bytes, uint64_t* words, int64_t stride) {
    for (; n_bytes >= 8; n_bytes -= 8, code += 8, words += stride) std::memcpy(words, code, 8);
    if (n_bytes > 0) {
        uint64_t last = 0;
        std::memcpy(&last, code, static_cast<size_t>(n_bytes));
        *words = last;
    }
}

TileReader::TileReader(const CodeSet& set, int64_t begin, int64_t end, int64_t rows_bytes, int64_t planes_bytes, int64_t group)
    : set_(set),
      gathered_(set.ranks()),
      rows_bytes_(set.n_bytes % 8 == 0 ? rows_bytes : 0),
      tile_codes_(tile_codes(set.n_words(), planes_bytes, group)),
      rows_run_(group > kTileGroup ? tile_codes_ : 8 * 64),  // a tile of bit planes costs something a query, whatever it holds
      stride_(tile_codes_ + kCacheLine),                     // a power of two would make the planes compete for the same cache sets
      last_word_mask_(set.n_bytes % 8 == 0 ? ~uint64_t{0} : (uint64_t{1} << 8 * (set.n_bytes % 8)) - 1),
      n_overreadable_(overreadable(set)),
      at_(begin),
      end_(end),
      rank_(gathered_ ? gathered_->eligible_before_block(begin / Mask::kBlock) : begin),
      memory_(static_cast<size_t>(stride_ * set.n_words() + kCacheLine)),
      planes_(memory_.data() + (-(reinterpret_cast<uintptr_t>(memory_.data()) / 8) & (kCacheLine - 1))) {
    skip(0);
}

// Goes on by whole words of the mask.
void TileReader::skip(int64_t count) {
    at_ += count;
    if (gathered_ && at_ < end_) pending_ = gathered_->word(at_ / 64);
}

// How many codes follow that are all eligible, up to `most`, in whole words of the mask.
int64_t TileReader::eligible_run(int64_t most) const {
    const int64_t last = std::min(at_ + most, end_) - 64;
    int64_t at = at_;
    while (at <= last && gathered_->word(at / 64) == kAllEligible) at += 64;
    return at - at_;
}

int64_t TileReader::rows_fitting() const { return std::max(kTileGroup, rows_bytes_ / set_.n_bytes); }

bool TileReader::next(CodeTile& tile, int64_t most) {
    if (gathered_) return gathered(tile, most);
    if (rows_bytes_ > 0 && end_ - at_ >= kTileGroup) {
        return emit_rows(tile, std::min({rows_fitting(), most, end_ - at_}) / kTileGroup * kTileGroup);
    }
    return copied(tile, most);
}

void TileReader::prefetch(int64_t count, int64_t part, int64_t parts) const {
    constexpr int64_t kLineBytes = 8 * kCacheLine;
    const uint8_t* codes = set_.codes + at_ * set_.n_bytes;
    const int64_t lines = ceil_div(std::min(count, end_ - at_) * set_.n_bytes, kLineBytes);
    for (int64_t line = lines * part / parts; line < lines * (part + 1) / parts; ++line)
        __builtin_prefetch(codes + line * kLineBytes, 0, 2);
}

// Codes far from each other come to the cache only as they are asked for.
void TileReader::prefetch_scattered(int64_t first) const {
    if (first >= end_) return;
    for (uint64_t left = gathered_->word(first / 64); left != 0; left &= left - 1) {
        __builtin_prefetch(set_.codes + (first + __builtin_ctzll(left)) * set_.n_bytes);
    }
}

bool TileReader::emit_rows(CodeTile& tile, int64_t count) {
    tile = {reinterpret_cast<const uint64_t*>(set_.codes + at_ * set_.n_bytes), set_.n_words(), 1, count, rank_, mask_beside()};
    rank_ += count;
    skip(count);
    return true;
}

bool TileReader::emit_planes(CodeTile& tile, int64_t count) {
    tile = {planes_, 1, stride_, count, rank_};
    rank_ += count;
    return count > 0;
}

void TileReader::place(int64_t id, int64_t column) {
    const uint8_t* code = set_.codes + id * set_.n_bytes;
    uint64_t* words = planes_ + column;
    if (id >= n_overreadable_) return code_to_words(code, set_.n_bytes, words, stride_);
    const int n_words = set_.n_words();
    for (int w = 0; w < n_words; ++w) std::memcpy(words + w * stride_, code + 8 * w, 8);
    words[(n_words - 1) * stride_] &= last_word_mask_;
}

// Copies codes [at_, at_ + count), all of which can be read beyond their end, to columns from this one on.
template <int kWords>
void TileReader::copy_words(int64_t count, int64_t column) {
    const uint8_t* code = set_.codes + at_ * set_.n_bytes;
    uint64_t* words = planes_ + column;
    const int64_t n_bytes = set_.n_bytes, stride = stride_;
    const uint64_t mask = last_word_mask_;
    for (int64_t j = 0; j < count; ++j, code += n_bytes) {
        uint64_t word[kWords];
        std::memcpy(word, code, sizeof word);
        word[kWords - 1] &= mask;
        for (int w = 0; w < kWords; ++w) words[w * stride + j] = word[w];
    }
}

void TileReader::copy(int64_t count, int64_t column) {
    switch (at_ + count <= n_overreadable_ ? set_.n_words() : 0) {
        case 1: copy_words<1>(count, column); break;
        case 2: copy_words<2>(count, column); break;
        case 3: copy_words<3>(count, column); break;
        case 4: copy_words<4>(count, column); break;
        case 6: copy_words<6>(count, column); break;
        case 8: copy_words<8>(count, column); break;
        case 12: copy_words<12>(count, column); break;
        case 16: copy_words<16>(count, column); break;
        default:
            for (int64_t j = 0; j < count; ++j) place(at_ + j, column + j);
    }
    skip(count);
}

bool TileReader::copied(CodeTile& tile, int64_t most) {
    const int64_t count = std::min({tile_codes_, most, end_ - at_});
    const uint8_t* const mask = mask_beside();
    copy(count, 0);
    if (!emit_planes(tile, count)) return false;
    tile.mask = mask;
    return true;
}

bool TileReader::gathered(CodeTile& tile, int64_t most) {
    const int64_t places = std::min(tile_codes_, most);
    int64_t count = 0;
    while (at_ < end_) {
        if (pending_ == kAllEligible) {
            const int64_t rows = rows_bytes_ > 0 ? eligible_run(std::min(rows_fitting(), most)) : 0;
            if (rows >= std::min(rows_run_, most)) return count > 0 ? emit_planes(tile, count) : emit_rows(tile, rows);
            if (const int64_t run = eligible_run(places - count); run > 0) {
                copy(run, count);
                count += run;
                continue;
            }
        }
        if (pending_ != 0) prefetch_scattered(at_ + kScatteredAhead);
        for (; pending_ != 0 && count < places; pending_ &= pending_ - 1) place(at_ + __builtin_ctzll(pending_), count++);
        if (pending_ != 0) break;
        skip(64);
    }
    return emit_planes(tile, count);
}

}  // namespace fasthash
