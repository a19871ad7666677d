#include <pybind11/stl.h>

#include <string>

#include "../bindings/search_arguments.h"
#include "search.h"

namespace py = pybind11;

namespace fasthash::hamming_bindings {

namespace {

using Codes = Array<uint8_t>;
using OptionalMask = OptionalArray<uint8_t>;

void topk(const Codes& queries, const Codes& codes, int64_t k, const OptionalMask& mask, Array<int32_t> distances, Array<int64_t> ids,
          int threads, const std::string& isa, int64_t max_distance) {
    SearchArguments search("hamming_topk", queries, codes, mask, threads, select_isa(isa));
    search.options.max_distance = max_distance;
    int32_t* const out_distances = output("hamming_topk", "distances", distances, {search.queries.n_queries, k});
    int64_t* const out_ids = output("hamming_topk", "ids", ids, {search.queries.n_queries, k});
    search.run([&] { search_topk(search.set, search.queries, k, search.options, out_distances, out_ids); });
}

py::tuple radius(const Codes& queries, const Codes& codes, int64_t bound, const OptionalMask& mask, int threads, const std::string& isa) {
    SearchArguments search("hamming_radius", queries, codes, mask, threads, select_isa(isa));
    return search.run_radius(bound, [&] { return search_radius(search.set, search.queries, bound, search.options); });
}

void distance(const Codes& queries, const Codes& codes, Array<int32_t> distances, int threads, const std::string& isa) {
    SearchArguments search("hamming_distance", queries, codes, std::nullopt, threads, select_isa(isa));
    int32_t* const out = output("hamming_distance", "distances", distances, {search.queries.n_queries, search.set.n_codes});
    search.run([&] { all_distances(search.set, search.queries, search.options, out); });
}

}  // namespace

void add_to(py::module_& m) {
    m.def("hamming_topk", &topk, exact("queries"), exact("codes"), py::arg("k"), exact("mask"), exact("distances"), exact("ids"),
          py::arg("threads"), py::arg("isa"), py::arg("max_distance") = kMaxBits);
    m.def("hamming_radius", &radius, exact("queries"), exact("codes"), py::arg("radius"), exact("mask"), py::arg("threads"),
          py::arg("isa"));
    m.def("hamming_distance", &distance, exact("queries"), exact("codes"), exact("distances"), py::arg("threads"), py::arg("isa"));
}

}  // namespace fasthash::hamming_bindings
