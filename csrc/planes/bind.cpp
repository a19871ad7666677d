#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "../asymmetric/search.h"
#include "../bindings/search_arguments.h"
#include "../rounding.h"
#include "search.h"

namespace py = pybind11;

namespace fasthash::planes_bindings {

namespace {

using Bytes = Array<uint8_t>;
using OptionalMask = OptionalArray<uint8_t>;

constexpr int64_t kPlaneBytes = 8 * kPlaneLines * kLineWords;

void check_width(const char* function, int64_t n_bytes) {
    if (n_bytes >= 1 && 8 * n_bytes <= kMaxBits) return;
    throw std::invalid_argument(std::string(function) + ": expected codes of 1 to " + std::to_string(kMaxBits / 8) + " bytes, got " +
                                std::to_string(n_bytes));
}

// Refuses planes that have no place for codes [0, end).
void check_planes(const char* function, const Bytes& planes, int64_t n_bytes, int64_t end) {
    check_width(function, n_bytes);
    const int64_t n_blocks = planes.ndim() == 3 ? planes.shape(0) : 0;
    check_shape(function, "planes", planes, {n_blocks, block_planes(static_cast<int>(8 * n_bytes)), kPlaneBytes});
    if (end < 0 || end > n_blocks * kBlockCodes) {
        throw std::invalid_argument(std::string(function) + ": expected planes with places for " + std::to_string(end) + " codes, got " +
                                    std::to_string(n_blocks * kBlockCodes));
    }
    if (reinterpret_cast<uintptr_t>(planes.data()) % 8 != 0) {
        throw std::invalid_argument(std::string(function) + ": expected planes at a multiple of 8 bytes, got another address");
    }
}

const uint64_t* words_of(const Bytes& planes) { return reinterpret_cast<const uint64_t*>(planes.data()); }

void check_first(const char* function, int64_t first) {
    if (first < 0) throw std::invalid_argument(std::string(function) + ": expected first at least 0, got " + std::to_string(first));
}

void write(Bytes planes, const Bytes& codes, int64_t first, int threads, const std::string& isa) {
    constexpr const char* name = "write_planes";
    check_first(name, first);
    check_planes(name, planes, codes.shape(1), first + codes.shape(0));
    uint64_t* const blocks = reinterpret_cast<uint64_t*>(planes.mutable_data());
    const PlanesKernel kernel = planes_kernel(select_isa(isa));
    const int n_threads = thread_count(threads);
    const int64_t n_codes = codes.shape(0);
    const int n_bytes = static_cast<int>(codes.shape(1));
    const uint8_t* const from = codes.data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        write_codes(from, n_codes, n_bytes, first, kernel, n_threads, interrupted, blocks);
    });
}

void read(const Bytes& planes, int64_t first, Bytes codes, int threads, const std::string& isa) {
    constexpr const char* name = "read_planes";
    check_first(name, first);
    const int64_t n_codes = codes.shape(0);
    check_planes(name, planes, codes.shape(1), first + n_codes);
    const int n_bytes = static_cast<int>(codes.shape(1));
    const PlanesKernel kernel = planes_kernel(select_isa(isa));
    const int n_threads = thread_count(threads);
    const uint64_t* const blocks = words_of(planes);
    uint8_t* const out = codes.mutable_data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        read_codes(blocks, n_codes, n_bytes, first, kernel, n_threads, interrupted, out);
    });
}

void gather(const Bytes& planes, const Array<int64_t>& positions, Bytes codes, int threads) {
    constexpr const char* name = "gather_planes";
    const int64_t n_positions = positions.shape(0);
    uint8_t* const out = output(name, "codes", codes, {n_positions, codes.shape(1)});
    const int n_bytes = static_cast<int>(codes.shape(1));
    check_planes(name, planes, n_bytes, 0);
    const int64_t n_places = planes.shape(0) * kBlockCodes;
    const int64_t* const wanted = positions.data();
    for (int64_t i = 0; i < n_positions; ++i) {
        if (wanted[i] < 0 || wanted[i] >= n_places) {
            throw std::invalid_argument(std::string(name) + ": expected positions from 0 to " + std::to_string(n_places - 1) + ", got " +
                                        std::to_string(wanted[i]));
        }
    }
    const int n_threads = thread_count(threads);
    const uint64_t* const blocks = words_of(planes);
    run_interruptible(
        [&](const std::function<bool()>& interrupted) { gather_codes(blocks, wanted, n_positions, n_bytes, n_threads, interrupted, out); });
}

StoredCodes checked_set(const char* function, const Bytes& planes, int64_t n_codes, int64_t n_bytes, const OptionalMask& mask, Isa isa) {
    check_planes(function, planes, n_bytes, n_codes);
    if (mask) check_shape(function, "mask", *mask, {ceil_div(n_codes, 8)});
    return {words_of(planes), n_codes, static_cast<int>(n_bytes), data_or_null(mask), planes_kernel(isa)};
}

// The arguments of a search, checked.
struct StoredSearch : SearchCall {
    const StoredCodes set;

    StoredSearch(const char* function, const Bytes& query_codes, const Bytes& planes, int64_t n_codes, const OptionalMask& mask,
                 int threads, const std::string& isa)
        : SearchCall(query_set(query_codes), threads, select_isa(isa)),
          set(checked_set(function, planes, n_codes, query_codes.shape(1), mask, select_isa(isa))) {}
};

void topk(const Bytes& queries, const Bytes& planes, int64_t n_codes, int64_t k, const OptionalMask& mask, Array<int32_t> distances,
          Array<int64_t> ids, int threads, const std::string& isa, int64_t max_distance) {
    constexpr const char* name = "planes_topk";
    StoredSearch search(name, queries, planes, n_codes, mask, threads, isa);
    search.options.max_distance = max_distance;
    int32_t* const out_distances = output(name, "distances", distances, {search.queries.n_queries, k});
    int64_t* const out_ids = output(name, "ids", ids, {search.queries.n_queries, k});
    search.run([&] { search_topk(search.set, search.queries, k, search.options, out_distances, out_ids); });
}

py::tuple radius(const Bytes& queries, const Bytes& planes, int64_t n_codes, int64_t bound, const OptionalMask& mask, int threads,
                 const std::string& isa) {
    StoredSearch search("planes_radius", queries, planes, n_codes, mask, threads, isa);
    return search.run_radius(std::min(bound, search.set.n_bits()),
                             [&] { return search_radius(search.set, search.queries, bound, search.options); });
}

// As asymmetric_topk of rows.
template <class T>
int64_t asymmetric_topk(const Array<T>& projections, const Bytes& planes, int64_t n_codes, int64_t k, int bits, const OptionalMask& mask,
                        Array<T> scores, Array<int64_t> ids, int threads, const std::string& isa) {
    constexpr const char* name = "asymmetric_planes_topk";
    const int64_t n_queries = projections.shape(0), n_columns = projections.shape(1);
    const Isa level = select_isa(isa);
    const StoredCodes set = checked_set(name, planes, n_codes, ceil_div(n_columns, 8), mask, level);
    const QuantizedQueries<T> queries(projections.data(), n_queries, n_columns, set.n_bits(), bits);
    T* const out_scores = output(name, "scores", scores, {n_queries, k});
    int64_t* const out_ids = output(name, "ids", ids, {n_queries, k});
    if (queries.not_finite >= 0) return queries.not_finite;
    SearchCall search(queries.set(), threads, level);
    search.run([&] { search_topk(set, queries, k, level, search.options, out_scores, out_ids); });
    return -1;
}

template <class T>
void define_asymmetric_topk(py::module_& m) {
    m.def("asymmetric_planes_topk", &asymmetric_topk<T>, exact("projections"), exact("planes"), py::arg("n"), py::arg("k"), py::arg("bits"),
          exact("mask"), exact("scores"), exact("ids"), py::arg("threads"), py::arg("isa"));
}

// The planes of a block, and the bytes of a plane.
py::tuple block_shape(int n_bits) { return py::make_tuple(block_planes(n_bits), kPlaneBytes); }

}  // namespace

void add_to(py::module_& m) {
    m.def("block_shape", &block_shape, py::arg("n_bits"));
    m.def("write_planes", &write, exact("planes"), exact("codes"), py::arg("first"), py::arg("threads"), py::arg("isa"));
    m.def("read_planes", &read, exact("planes"), py::arg("first"), exact("codes"), py::arg("threads"), py::arg("isa"));
    m.def("gather_planes", &gather, exact("planes"), exact("positions"), exact("codes"), py::arg("threads"));
    m.def("planes_topk", &topk, exact("queries"), exact("planes"), py::arg("n"), py::arg("k"), exact("mask"), exact("distances"),
          exact("ids"), py::arg("threads"), py::arg("isa"), py::arg("max_distance") = kMaxBits);
    define_asymmetric_topk<float>(m);
    define_asymmetric_topk<double>(m);
    m.def("planes_radius", &radius, exact("queries"), exact("planes"), py::arg("n"), py::arg("radius"), exact("mask"), py::arg("threads"),
          py::arg("isa"));
}

}  // namespace fasthash::planes_bindings
