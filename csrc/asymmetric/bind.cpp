#include <pybind11/stl.h>

#include <string>

#include "../bindings/search_arguments.h"
#include "../rounding.h"
#include "factored_search.h"
#include "search.h"

namespace py = pybind11;

namespace fasthash::asymmetric_bindings {

namespace {

constexpr const char* kName = "asymmetric_topk";

// Returns where the first projection that is not finite is, or -1: then the result is there.
template <class T>
int64_t topk(const Array<T>& projections, const Array<uint8_t>& codes, int64_t k, int bits, const OptionalArray<uint8_t>& mask,
             const OptionalArray<float>& factors, const OptionalArray<float>& offsets, Array<T> scores, Array<int64_t> ids, int threads,
             const std::string& isa) {
    const RowArguments rows(kName, codes, mask);
    if (factors) check_shape(kName, "factors", *factors, {rows.set.n_codes});
    if (offsets) check_shape(kName, "offsets", *offsets, {rows.set.n_codes});
    const int64_t n_queries = projections.shape(0), n_columns = projections.shape(1);
    if (ceil_div(n_columns, 8) != rows.set.n_bytes) check_shape(kName, "projections", projections, {n_queries, rows.set.n_bits()});
    const Isa level = select_isa(isa);
    const QuantizedQueries<T> queries(projections.data(), n_queries, n_columns, rows.set.n_bits(), bits);
    T* const out_scores = output(kName, "scores", scores, {n_queries, k});
    int64_t* const out_ids = output(kName, "ids", ids, {n_queries, k});
    if (queries.not_finite >= 0) return queries.not_finite;
    SearchCall search(queries.set(), threads, level);
    const CodeFactors of_codes{data_or_null(factors), data_or_null(offsets)};
    search.run([&] {
        if (factors || offsets) {
            search_topk(rows.set, queries, of_codes, k, level, search.options, out_scores, out_ids);
        } else {
            search_topk(rows.set, queries, k, level, search.options, out_scores, out_ids);
        }
    });
    return -1;
}

template <class T>
void define_topk(py::module_& m) {
    m.def(kName, &topk<T>, exact("projections"), exact("codes"), py::arg("k"), py::arg("bits"), exact("mask"), exact("factors"),
          exact("offsets"), exact("scores"), exact("ids"), py::arg("threads"), py::arg("isa"));
}

}  // namespace

void add_to(py::module_& m) {
    define_topk<float>(m);
    define_topk<double>(m);
}

}  // namespace fasthash::asymmetric_bindings
