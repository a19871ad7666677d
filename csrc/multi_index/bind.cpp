#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>

#include "../bindings/search_arguments.h"
#include "../hamming/scan_cost.h"
#include "cost.h"
#include "search.h"

namespace py = pybind11;

namespace fasthash::multi_index_bindings {

namespace {

using Codes = Array<uint8_t>;
using OptionalMask = OptionalArray<uint8_t>;

Layout layout_of(bool fast) { return fast ? Layout::fast : Layout::compact; }

std::unique_ptr<Tables> build(const Codes& codes, int n_bits, int n_tables, bool fast, int threads) {
    const int64_t n_codes = codes.shape(0);
    const int n_bytes = static_cast<int>(codes.shape(1));
    if (n_codes > Tables::kMaxCodes) {
        throw std::invalid_argument("MultiIndexTables: expected at most " + std::to_string(Tables::kMaxCodes) + " codes, got " +
                                    std::to_string(n_codes));
    }
    const int n_threads = thread_count(threads);
    std::unique_ptr<Tables> tables;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        tables = std::make_unique<Tables>(codes.data(), n_codes, n_bytes, n_bits, n_tables, layout_of(fast), n_threads, interrupted);
    });
    return tables;
}

double cost_of_build(int64_t n_codes, int n_bytes, int n_bits, int n_tables, bool fast, int threads) {
    const int64_t size = n_tables > 0 ? n_tables : Tables::choose_size(n_codes, n_bytes, n_bits, layout_of(fast));
    return build_cost(n_codes, size, thread_count(threads));
}

double cost_of_scan(int64_t n_codes, int n_bytes, int64_t n_queries, int threads) {
    return scan_cost({nullptr, n_codes, n_bytes, nullptr}, n_queries, thread_count(threads), hamming_kernel(select_isa()));
}

void check_tables(const char* function, const Tables& tables, const CodeSet& set) {
    if (set.n_bytes == tables.n_bytes() && set.n_codes >= tables.n_codes()) return;
    throw std::invalid_argument(std::string(function) + ": expected the " + std::to_string(tables.n_codes()) + " codes of " +
                                std::to_string(tables.n_bytes()) + " bytes that are in the tables and any after them, got " +
                                std::to_string(set.n_codes) + " of " + std::to_string(set.n_bytes));
}

void topk(const Tables& tables, const Codes& queries, const Codes& codes, int64_t k, const OptionalMask& mask, int64_t max_candidates,
          Array<int32_t> distances, Array<int64_t> ids, OptionalArray<bool> complete, int threads, const std::string& isa,
          int64_t max_distance) {
    constexpr const char* name = "MultiIndexTables.topk";
    const Isa level = select_isa(isa);
    SearchArguments search(name, queries, codes, mask, threads, level);
    check_tables(name, tables, search.set);
    search.options.max_distance = max_distance;
    const int64_t n_queries = search.queries.n_queries;
    int32_t* const out_distances = output(name, "distances", distances, {n_queries, k});
    int64_t* const out_ids = output(name, "ids", ids, {n_queries, k});
    bool* const out_complete = output(name, "complete", complete, {n_queries});
    if (max_candidates > 0 && !complete) {
        throw std::invalid_argument(std::string(name) + ": expected complete with max_candidates, got None");
    }
    search.run([&] {
        const MultiSearchOptions options{search.options, multi_index_kernel(level), max_candidates};
        search_topk(tables, search.set, search.queries, k, options, out_distances, out_ids, out_complete);
    });
}

py::tuple radius(const Tables& tables, const Codes& queries, const Codes& codes, int64_t bound, const OptionalMask& mask, int threads,
                 const std::string& isa) {
    constexpr const char* name = "MultiIndexTables.radius";
    const Isa level = select_isa(isa);
    SearchArguments search(name, queries, codes, mask, threads, level);
    check_tables(name, tables, search.set);
    return search.run_radius(
        bound, [&] { return search_radius(tables, search.set, search.queries, bound, {search.options, multi_index_kernel(level), 0}); });
}

// The first bit and the width of each table's keys.
std::vector<std::pair<int, int>> keys(const Tables& tables) {
    std::vector<std::pair<int, int>> keys;
    for (int64_t t = 0; t < tables.size(); ++t) keys.emplace_back(tables[t].start, tables[t].width);
    return keys;
}

double probes(const Tables& tables, int64_t radius) { return tables.probes_before(std::min(radius + 1, tables.n_steps())); }

}  // namespace

void add_to(py::module_& m) {
    py::class_<Tables>(m, "MultiIndexTables")
        .def(py::init(&build), exact("codes"), py::arg("n_bits"), py::arg("n_tables"), py::arg("fast"), py::arg("threads"))
        .def("topk", &topk, exact("queries"), exact("codes"), py::arg("k"), exact("mask"), py::arg("max_candidates"), exact("distances"),
             exact("ids"), exact("complete"), py::arg("threads"), py::arg("isa"), py::arg("max_distance") = kMaxBits)
        .def("radius", &radius, exact("queries"), exact("codes"), py::arg("radius"), exact("mask"), py::arg("threads"), py::arg("isa"))
        .def("probes", &probes, py::arg("radius"))
        .def_property_readonly("n_codes", &Tables::n_codes)
        .def_property_readonly("memory", &Tables::memory)
        .def_property_readonly("keys", &keys)
        .def_property_readonly_static("max_codes", [](const py::object&) { return Tables::kMaxCodes; })
        .def_static("cost_of_build", &cost_of_build, py::arg("n_codes"), py::arg("n_bytes"), py::arg("n_bits"), py::arg("n_tables"),
                    py::arg("fast"), py::arg("threads"))
        .def_static("cost_of_scan", &cost_of_scan, py::arg("n_codes"), py::arg("n_bytes"), py::arg("n_queries"), py::arg("threads"));
}

}  // namespace fasthash::multi_index_bindings
