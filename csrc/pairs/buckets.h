#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "../hamming/code_set.h"
#include "../huge_array.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "code_rows.h"
#include "kernel.h"

namespace fasthash {

constexpr int64_t kBlockRows = int64_t{1} << 14;  // whose bookkeeping and words of 64 bits fit a second-level cache

constexpr int kMostWords = kMaxBits / 64;

inline int log2_ceil(int64_t n) {
    int bits = 0;
    while (int64_t{1} << bits < n) ++bits;
    return bits;
}

inline uint64_t leading_bits(uint64_t hash, int n_bits) { return n_bits == 0 ? 0 : hash >> (64 - n_bits); }

// Rows in blocks by the leading bits of their hashes, which a cache holds one at a time; in a block their ids ascend. Memory is kept from
// one filling to the next.
class RowBlocks {
public:
    // Lists those that take part, from the id `first` on of the first set.
    template <class Hash>
    void fill(const CodeRows& rows, int64_t first, const Hash& hash, int threads, const std::function<bool()>& interrupted) {
        if (rows.n_words() == 1) return fill_words<1>(rows, first, hash, threads, interrupted);
        fill_words<0>(rows, first, hash, threads, interrupted);
    }

    int64_t n_blocks() const { return static_cast<int64_t>(begins_.size()) - 1; }
    int64_t begin(int64_t block) const { return begins_[static_cast<size_t>(block)]; }
    int n_words() const { return n_words_; }
    int n_bits() const { return n_bits_; }  // of the hash, which those of a block share
    const uint64_t* words(int64_t row) const { return words_.get() + row * n_words_; }
    uint32_t id(int64_t row) const { return ids_.get()[row]; }

private:
    // kWords = 0 is a width known only at run time.
    template <int kWords, class Hash>
    void fill_words(const CodeRows& rows, int64_t first, const Hash& hash, int threads, const std::function<bool()>& interrupted) {
        n_words_ = rows.n_words();
        const int n_words = kWords > 0 ? kWords : n_words_;
        const int64_t begin = rows.before(first), n = rows.size() - begin;
        n_bits_ = std::min(log2_ceil(ceil_div(n * n_words, kBlockRows)), 14);
        const int n_bits = n_bits_;
        const int64_t n_blocks = int64_t{1} << n_bits;
        const int64_t n_chunks = std::clamp<int64_t>(n / kBlockRows, 1, n_bits == 0 ? 1 : 4 * threads);
        reserve(words_, n * n_words);
        reserve(ids_, n);
        uint64_t* const out_words = words_.get();
        uint32_t* const out_ids = ids_.get();
        std::vector<int64_t> places(static_cast<size_t>(n_chunks * n_blocks));  // how many rows of a chunk a block has, then where they go

        const auto each_row = [&](Job& job, int64_t chunk, const auto& visit) {
            int64_t* const own = places.data() + chunk * n_blocks;
            uint64_t words[kWords > 0 ? kWords : kMostWords];
            const int64_t end = begin + n * (chunk + 1) / n_chunks;
            for (int64_t i = begin + n * chunk / n_chunks; i < end; ++i) {
                const int64_t id = rows.id(i);
                rows.read(id, words);
                visit(own[leading_bits(hash(words, n_words), n_bits)], id, words);
                if (i % 4096 == 0) job.checkpoint(4096 * (8 + 2 * n_words));
            }
        };
        parallel_for(n_chunks, threads, interrupted,
                     [&](Job& job, int64_t chunk) { each_row(job, chunk, [](int64_t& place, int64_t, const uint64_t*) { ++place; }); });
        begins_.clear();
        int64_t before = 0;
        for (int64_t block = 0; block < n_blocks; ++block) {
            begins_.push_back(before);
            for (int64_t chunk = 0; chunk < n_chunks; ++chunk) {
                int64_t& place = places[static_cast<size_t>(chunk * n_blocks + block)];
                before += std::exchange(place, before);
            }
        }
        begins_.push_back(before);
        parallel_for(n_chunks, threads, interrupted, [&](Job& job, int64_t chunk) {
            each_row(job, chunk, [&](int64_t& place, int64_t id, const uint64_t* words) {
                for (int w = 0; w < n_words; ++w) out_words[place * n_words + w] = words[w];
                out_ids[place++] = static_cast<uint32_t>(id);
            });
        });
    }

    template <class T>
    static void reserve(HugeArray<T>& array, int64_t n) {
        if (array.n_bytes() >= n * static_cast<int64_t>(sizeof(T))) return;
        array = HugeArray<T>();  // gives its memory back first
        array = HugeArray<T>(n);
    }

    int n_words_ = 0, n_bits_ = 0;
    HugeArray<uint64_t> words_;  // [n, n_words]
    HugeArray<uint32_t> ids_;
    std::vector<int64_t> begins_;
};

// The rows of a block in buckets, in each of which are those of at least one hash, their ids ascending.
class Buckets {
public:
    template <class Hash>
    void fill(const RowBlocks& blocks, int64_t block, const Hash& hash) {
        const int64_t first = blocks.begin(block);
        const int n_words = blocks.n_words();
        n_rows_ = blocks.begin(block + 1) - first;
        stride_ = round_up(n_rows_, kRowSlack);
        const int n_bits = std::min(log2_ceil(n_rows_), 20);
        n_buckets_ = int64_t{1} << n_bits;
        grow(bucket_of_, n_rows_);
        grow(ids_, n_rows_);
        grow(words_, stride_ * n_words + kRowSlack);
        ends_.assign(static_cast<size_t>(n_buckets_) + 1, 0);
        // First how many rows a bucket has, then where the next of them goes; once all are placed, that is where it ends.
        for (int64_t i = 0; i < n_rows_; ++i) {
            const uint64_t bucket = leading_bits(hash(blocks.words(first + i), n_words) << blocks.n_bits(), n_bits);
            bucket_of_[static_cast<size_t>(i)] = static_cast<uint32_t>(bucket);
            ++ends_[bucket + 1];
        }
        for (int64_t bucket = 0; bucket < n_buckets_; ++bucket)
            ends_[static_cast<size_t>(bucket) + 1] += ends_[static_cast<size_t>(bucket)];
        for (int64_t i = 0; i < n_rows_; ++i) {
            const size_t place = ends_[bucket_of_[static_cast<size_t>(i)]]++;
            ids_[place] = blocks.id(first + i);
            for (int w = 0; w < n_words; ++w) words_[static_cast<size_t>(w * stride_) + place] = blocks.words(first + i)[w];
        }
    }

    int64_t n_rows() const { return n_rows_; }
    int64_t stride() const { return stride_; }
    const uint64_t* words() const { return words_.data(); }  // word w of row t is words()[w * stride() + t]
    uint32_t id(int64_t row) const { return ids_[static_cast<size_t>(row)]; }

    // Calls visit(begin, end) for every bucket of two rows at least.
    template <class Visit>
    void each(const Visit& visit) const {
        int64_t begin = 0;
        for (int64_t bucket = 0; bucket < n_buckets_; ++bucket) {
            const int64_t end = ends_[static_cast<size_t>(bucket)];
            if (end - begin > 1) visit(begin, end);
            begin = end;
        }
    }

private:
    template <class T>
    static void grow(std::vector<T>& array, int64_t n) {
        if (static_cast<int64_t>(array.size()) < n) array.resize(static_cast<size_t>(n));
    }

    int64_t n_rows_, stride_, n_buckets_;
    std::vector<uint32_t> bucket_of_, ids_, ends_;
    std::vector<uint64_t> words_;
};

// What threads work in, as many as work at a time.
template <class T>
class Workplaces {
public:
    class Lent {
    public:
        explicit Lent(Workplaces& from) : from_(from), place_(from.take()) {}
        ~Lent() {
            const std::lock_guard<std::mutex> lock(from_.mutex_);
            from_.free_.push_back(std::move(place_));
        }
        Lent(const Lent&) = delete;
        Lent& operator=(const Lent&) = delete;
        T& operator*() { return *place_; }

    private:
        Workplaces& from_;
        std::unique_ptr<T> place_;
    };

private:
    std::unique_ptr<T> take() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (free_.empty()) {
            free_.reserve(static_cast<size_t>(++n_places_));  // so that giving a place back cannot fail
            return std::make_unique<T>();
        }
        std::unique_ptr<T> place = std::move(free_.back());
        free_.pop_back();
        return place;
    }

    std::mutex mutex_;
    std::vector<std::unique_ptr<T>> free_;
    int n_places_ = 0;
};

}  // namespace fasthash
