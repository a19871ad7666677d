#include <pybind11/stl.h>

#include <string>

#include "../bindings/search_arguments.h"
#include "search.h"

namespace py = pybind11;

namespace fasthash {

namespace {

void topk(const Array<int8_t>& weights, const Array<uint8_t>& codes, int64_t k, const OptionalArray<uint8_t>& mask,
          Array<int32_t> distances, Array<int64_t> ids, int threads, const std::string& isa) {
    constexpr const char* name = "asymmetric_topk";
    check_shape(name, "weights", weights, {weights.shape(0), 8 * codes.shape(1)});
    const RowArguments rows(name, codes, mask);
    const Isa level = select_isa(isa);
    SearchCall search({reinterpret_cast<const uint8_t*>(weights.data()), weights.shape(0)}, threads, level);
    int32_t* const out_distances = output(name, "distances", distances, {search.queries.n_queries, k});
    int64_t* const out_ids = output(name, "ids", ids, {search.queries.n_queries, k});
    search.run([&] {
        search_topk(weighted_set(rows.set, search.queries, level), search.queries, k, search.options, out_distances, out_ids);
    });
}

}  // namespace

void register_asymmetric(py::module_& m) {
    m.def("asymmetric_topk", &topk, exact("weights"), exact("codes"), py::arg("k"), exact("mask"), exact("distances"), exact("ids"),
          py::arg("threads"), py::arg("isa"));
}

}  // namespace fasthash
