#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "../bindings/search_arguments.h"
#include "../rounding.h"
#include "counts.h"
#include "order.h"
#include "places.h"

namespace py = pybind11;

namespace fasthash::ranking_bindings {

namespace {

Labels checked_labels(const char* name, const Array<int32_t>& query_labels, const Array<int32_t>& labels, bool shared,
                      const SearchArguments& search) {
    const int64_t n_words = labels.shape(0);
    check_shape(name, "labels", labels, {n_words, search.set.n_codes});
    check_shape(name, "query_labels", query_labels, {search.queries.n_queries, n_words});
    return {query_labels.data(), labels.data(), search.set.n_codes, n_words, shared};
}

void counts(const Array<uint8_t>& queries, const Array<uint8_t>& codes, const Array<int32_t>& query_labels, const Array<int32_t>& labels,
            bool shared, Array<int64_t> totals, Array<int64_t> relevants, int threads, const std::string& isa) {
    constexpr const char* name = "distance_counts";
    const Isa level = select_isa(isa);
    SearchArguments search(name, queries, codes, std::nullopt, threads, level);
    const int64_t n_queries = search.queries.n_queries, n_distances = search.set.n_bits() + 1;
    const Labels both = checked_labels(name, query_labels, labels, shared, search);
    int64_t* const out_totals = output(name, "totals", totals, {n_queries, n_distances});
    int64_t* const out_relevants = output(name, "relevants", relevants, {n_queries, n_distances});
    search.run(
        [&] { distance_counts(search.set, search.queries, both, ranking_kernel(level), search.options, out_totals, out_relevants); });
}

Vectors vectors_of(const Array<float>& x) { return {x.data(), nullptr, x.shape(1)}; }
Vectors vectors_of(const Array<double>& x) { return {nullptr, x.data(), x.shape(1)}; }

template <class T>
void places(const Array<uint8_t>& queries, const Array<uint8_t>& codes, const Array<int32_t>& query_labels, const Array<int32_t>& labels,
            bool shared, const OptionalArray<T>& query_vectors, const OptionalArray<T>& vectors, const OptionalArray<double>& scales,
            int64_t k, int64_t within, int64_t own, Array<uint8_t> bits, int threads, const std::string& isa) {
    constexpr const char* name = "relevance_by_place";
    const Isa level = select_isa(isa);
    SearchArguments search(name, queries, codes, std::nullopt, threads, level);
    const int64_t n_queries = search.queries.n_queries, n_codes = search.set.n_codes;
    const Labels both = checked_labels(name, query_labels, labels, shared, search);
    if (own >= 0 && own + n_queries > n_codes)
        throw std::invalid_argument("relevance_by_place: expected queries that are codes from own on");
    std::optional<Similarity> similarity;
    if (vectors) {
        check_shape(name, "vectors", *vectors, {n_codes, vectors->shape(1)});
        check_shape(name, "query_vectors", query_vectors.value(), {n_queries, vectors->shape(1)});
        check_shape(name, "scales", scales.value(), {n_codes});
        similarity = {vectors_of(*query_vectors), vectors_of(*vectors), scales->data(), matrix_product_kernel(level).of<double>()};
    }
    const RankingOrder order{k, within, own, similarity ? &*similarity : nullptr};
    uint8_t* const out_bits = output(name, "bits", bits, {n_queries, ceil_div(k, 8)});
    search.run([&] { relevance_by_place(search.set, search.queries, both, order, ranking_kernel(level), search.options, out_bits); });
}

template <class T>
void define_places(py::module_& m) {
    m.def("relevance_by_place", &places<T>, exact("queries"), exact("codes"), exact("query_labels"), exact("labels"), py::arg("shared"),
          exact("query_vectors"), exact("vectors"), exact("scales"), py::arg("k"), py::arg("within"), py::arg("own"), exact("bits"),
          py::arg("threads"), py::arg("isa"));
}

PlaceBits place_bits(const Array<uint8_t>& bits) { return {bits.data(), bits.shape(0), bits.shape(1)}; }

void averages(const Array<uint8_t>& bits, Array<int64_t> found, Array<double> precisions, int threads) {
    constexpr const char* name = "average_precision";
    const PlaceBits rows = place_bits(bits);
    int64_t* const out_found = output(name, "found", found, {rows.n_rows});
    double* const out_precisions = output(name, "precisions", precisions, {rows.n_rows});
    const int n_threads = thread_count(threads);
    run_interruptible(
        [&](const std::function<bool()>& interrupted) { average_precision(rows, n_threads, interrupted, out_found, out_precisions); });
}

void weights_of_places(const Array<uint8_t>& bits, const Array<double>& weights, Array<double> sums, int threads) {
    constexpr const char* name = "weight_by_place";
    const PlaceBits rows = place_bits(bits);
    check_shape(name, "weights", weights, {rows.n_rows});
    double* const out_sums = output(name, "sums", sums, {8 * rows.n_bytes});
    const double* const of_rows = weights.data();
    const int n_threads = thread_count(threads);
    run_interruptible([&](const std::function<bool()>& interrupted) { weight_by_place(rows, of_rows, n_threads, interrupted, out_sums); });
}

}  // namespace

void add_to(py::module_& m) {
    m.def("distance_counts", &counts, exact("queries"), exact("codes"), exact("query_labels"), exact("labels"), py::arg("shared"),
          exact("totals"), exact("relevants"), py::arg("threads"), py::arg("isa"));
    define_places<float>(m);
    define_places<double>(m);
    m.def("average_precision", &averages, exact("bits"), exact("found"), exact("precisions"), py::arg("threads"));
    m.def("weight_by_place", &weights_of_places, exact("bits"), exact("weights"), exact("sums"), py::arg("threads"));
}

}  // namespace fasthash::ranking_bindings
