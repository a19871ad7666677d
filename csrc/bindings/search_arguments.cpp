#include "search_arguments.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "../rounding.h"

namespace py = pybind11;

namespace fasthash {

namespace {

CodeSet checked_set(const char* function, const Array<uint8_t>& codes, const Mask* mask) {
    const int64_t n_codes = codes.shape(0), n_bytes = codes.shape(1);
    if (n_bytes < 1 || 8 * n_bytes > kMaxBits) {
        throw std::invalid_argument(std::string(function) + ": expected codes of 1 to " + std::to_string(kMaxBits / 8) + " bytes, got " +
                                    std::to_string(n_bytes));
    }
    return {codes.data(), n_codes, static_cast<int>(n_bytes), mask};
}

std::unique_ptr<const Mask> checked_mask(const char* function, const OptionalArray<uint8_t>& mask, int64_t n_codes) {
    if (!mask) return nullptr;
    check_shape(function, "mask", *mask, {ceil_div(n_codes, 8)});
    return std::make_unique<const Mask>(mask->data(), n_codes);
}

}  // namespace

QuerySet query_set(const Array<uint8_t>& codes) { return {codes.data(), codes.shape(0)}; }

RowArguments::RowArguments(const char* function, const Array<uint8_t>& codes, const OptionalArray<uint8_t>& mask)
    : mask_(checked_mask(function, mask, codes.shape(0))), set(checked_set(function, codes, mask_.get())) {}

SearchArguments::SearchArguments(const char* function, const Array<uint8_t>& query_codes, const Array<uint8_t>& codes,
                                 const OptionalArray<uint8_t>& mask, int threads, Isa isa)
    : SearchCall(query_set(query_codes), threads, isa), RowArguments(function, codes, mask) {
    check_shape(function, "queries", query_codes, {queries.n_queries, set.n_bytes});
}

py::tuple SearchArguments::run_radius(int64_t radius, const std::function<HitGroups()>& search) {
    return SearchCall::run_radius(std::min(radius, set.n_bits()), search);
}

SearchCall::SearchCall(const QuerySet& of_queries, int threads, Isa isa)
    : queries(of_queries), options{hamming_kernel(isa), thread_count(threads), {}} {}

void SearchCall::run(const std::function<void()>& search) {
    run_interruptible([&](const std::function<bool()>& interrupted) {
        options.interrupted = interrupted;
        search();
    });
}

py::tuple SearchCall::run_radius(int64_t max_distance, const std::function<HitGroups()>& search) {
    Array<int64_t> offsets(queries.n_queries + 1);
    int64_t* const out_offsets = offsets.mutable_data();
    HitGroups hits;
    run([&] {
        hits = search();
        write_offsets(hits, queries.n_queries, out_offsets);
    });
    const int64_t n_hits = out_offsets[queries.n_queries];
    Array<int32_t> distances(n_hits);
    Array<int64_t> ids(n_hits);
    int32_t* const out_distances = distances.mutable_data();
    int64_t* const out_ids = ids.mutable_data();
    run([&] {
        write_hits(hits, max_distance, out_offsets, options.threads, options.interrupted, out_distances, out_ids);
        HitGroups().swap(hits);
    });
    return py::make_tuple(offsets, distances, ids);
}

}  // namespace fasthash
