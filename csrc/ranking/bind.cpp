#include <string>

#include "../bindings/search_arguments.h"
#include "counts.h"

namespace py = pybind11;

namespace fasthash {

namespace {

void counts(const Array<uint8_t>& queries, const Array<uint8_t>& codes, const Array<int32_t>& query_labels, const Array<int32_t>& labels,
            bool shared, Array<int64_t> totals, Array<int64_t> relevants, int threads, const std::string& isa) {
    constexpr const char* name = "distance_counts";
    const Isa level = select_isa(isa);
    SearchArguments search(name, queries, codes, std::nullopt, threads, level);
    const int64_t n_queries = search.queries.n_queries, n_words = labels.shape(0), n_distances = search.set.n_bits() + 1;
    check_shape(name, "labels", labels, {n_words, search.set.n_codes});
    check_shape(name, "query_labels", query_labels, {n_queries, n_words});
    const Labels both{query_labels.data(), labels.data(), search.set.n_codes, n_words, shared};
    int64_t* const out_totals = output(name, "totals", totals, {n_queries, n_distances});
    int64_t* const out_relevants = output(name, "relevants", relevants, {n_queries, n_distances});
    search.run(
        [&] { distance_counts(search.set, search.queries, both, ranking_kernel(level), search.options, out_totals, out_relevants); });
}

}  // namespace

void register_ranking(py::module_& m) {
    m.def("distance_counts", &counts, exact("queries"), exact("codes"), exact("query_labels"), exact("labels"), py::arg("shared"),
          exact("totals"), exact("relevants"), py::arg("threads"), py::arg("isa"));
}

}  // namespace fasthash
