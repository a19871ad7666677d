#include <stdexcept>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "counts.h"

namespace py = pybind11;

namespace fasthash {

namespace {

void counts(const Array<uint8_t>& query_codes, const Array<uint8_t>& codes, const Array<int32_t>& query_labels, const Array<int32_t>& labels,
            bool shared, Array<int64_t> totals, Array<int64_t> relevants, int threads, const std::string& isa) {
    if (codes.shape(1) != query_codes.shape(1)) throw std::invalid_argument("ranking: queries and codes differ in width");
    const CodeSet set{codes.data(), codes.shape(0), static_cast<int>(codes.shape(1)), nullptr};
    const QuerySet queries{query_codes.data(), query_codes.shape(0)};
    const Labels both{query_labels.data(), labels.data(), labels.shape(1), labels.shape(0), shared};
    const Isa level = select_isa(isa);
    const RankingKernel kernel = ranking_kernel(level);
    SearchOptions options{hamming_kernel(level), thread_count(threads), {}};
    int64_t *const items = totals.mutable_data(), *const hits = relevants.mutable_data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        options.interrupted = interrupted;
        distance_counts(set, queries, both, kernel, options, items, hits);
    });
}

}  // namespace

void register_ranking(py::module_& m) {
    m.def("distance_counts", &counts, py::arg("queries").noconvert(), py::arg("codes").noconvert(), py::arg("query_labels").noconvert(),
          py::arg("labels").noconvert(), py::arg("shared"), py::arg("totals").noconvert(), py::arg("relevants").noconvert(), py::arg("threads"),
          py::arg("isa"));
}

}  // namespace fasthash
