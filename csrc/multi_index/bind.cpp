#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "cost.h"
#include "search.h"

namespace py = pybind11;

namespace fasthash {

namespace {

using Codes = Array<uint8_t>;

// The arguments of a search, checked and held alive for its duration.
struct Arguments {
    CodeSet set;
    QuerySet queries;
    std::unique_ptr<const Mask> mask;
    MultiSearchOptions options;

    Arguments(const Tables& tables, const Codes& query_codes, const Codes& codes, const std::optional<Codes>& mask_bits, int64_t max_candidates,
              int threads, const std::string& isa)
        : set{codes.data(), codes.shape(0), static_cast<int>(codes.shape(1)), nullptr},
          queries{query_codes.data(), query_codes.shape(0)},
          options{{hamming_kernel(select_isa(isa)), thread_count(threads), {}}, multi_index_kernel(select_isa(isa)), select_isa(isa), max_candidates} {
        if (codes.shape(1) != query_codes.shape(1) || set.n_bytes != tables.n_bytes()) {
            throw std::invalid_argument("multi_index: tables, queries and codes differ in width");
        }
        if (set.n_codes < tables.n_codes()) throw std::invalid_argument("multi_index: codes of the tables are missing");
        if (mask_bits) {
            if (mask_bits->size() != (set.n_codes + 7) / 8) throw std::invalid_argument("multi_index: mask is not one bit a code");
            mask = std::make_unique<const Mask>(mask_bits->data(), set.n_codes);
            set.mask = mask.get();
        }
    }
};

std::unique_ptr<Tables> build(const Codes& codes, int n_bits, int n_tables, bool fast, int threads) {
    if (codes.shape(0) > Tables::kMaxCodes) throw std::invalid_argument("multi_index: ids of more than 32 bits");
    std::unique_ptr<Tables> tables;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        tables = std::make_unique<Tables>(codes.data(), codes.shape(0), static_cast<int>(codes.shape(1)), n_bits, n_tables,
                                          fast ? Layout::fast : Layout::compact, thread_count(threads), interrupted);
    });
    return tables;
}

double cost_of_build(int64_t n_codes, int n_bytes, int n_bits, int n_tables, bool fast, int threads) {
    const Layout layout = fast ? Layout::fast : Layout::compact;
    return build_cost(n_codes, n_tables > 0 ? n_tables : Tables::choose_size(n_codes, n_bytes, n_bits, layout), thread_count(threads));
}

double cost_of_scan(int64_t n_codes, int n_bytes, int64_t n_queries, int threads) {
    return scan_cost({nullptr, n_codes, n_bytes, nullptr}, n_queries, thread_count(threads), select_isa());
}

void topk(const Tables& tables, const Codes& queries, const Codes& codes, int64_t k, const std::optional<Codes>& mask, int64_t max_candidates,
          Array<int32_t> distances, Array<int64_t> ids, std::optional<Array<bool>> complete, int threads, const std::string& isa) {
    Arguments arguments(tables, queries, codes, mask, max_candidates, threads, isa);
    int32_t* out_distances = distances.mutable_data();
    int64_t* out_ids = ids.mutable_data();
    bool* out_complete = complete ? complete->mutable_data() : nullptr;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        arguments.options.scan.interrupted = interrupted;
        search_topk(tables, arguments.set, arguments.queries, k, arguments.options, out_distances, out_ids, out_complete);
    });
}

py::tuple radius(const Tables& tables, const Codes& queries, const Codes& codes, int64_t bound, const std::optional<Codes>& mask, int threads,
                 const std::string& isa) {
    Arguments arguments(tables, queries, codes, mask, 0, threads, isa);
    Array<int64_t> offsets(arguments.queries.n_queries + 1);
    int64_t* out_offsets = offsets.mutable_data();
    HitLists hits;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        arguments.options.scan.interrupted = interrupted;
        hits = search_radius(tables, arguments.set, arguments.queries, bound, arguments.options);
        write_offsets(hits, out_offsets);
    });
    Array<int32_t> distances(out_offsets[arguments.queries.n_queries]);
    Array<int64_t> ids(out_offsets[arguments.queries.n_queries]);
    int32_t* out_distances = distances.mutable_data();
    int64_t* out_ids = ids.mutable_data();
    {
        py::gil_scoped_release release;
        arguments.set.mask = nullptr;  // the hits have ids already
        write_hits(hits, arguments.set, out_distances, out_ids);
        HitLists().swap(hits);
    }
    return py::make_tuple(offsets, distances, ids);
}

}  // namespace

void register_multi_index(py::module_& m) {
    py::class_<Tables>(m, "MultiIndexTables")
        .def(py::init(&build), py::arg("codes").noconvert(), py::arg("n_bits"), py::arg("n_tables"), py::arg("fast"), py::arg("threads"))
        .def("topk", &topk, py::arg("queries").noconvert(), py::arg("codes").noconvert(), py::arg("k"), py::arg("mask").noconvert(),
             py::arg("max_candidates"), py::arg("distances").noconvert(), py::arg("ids").noconvert(), py::arg("complete").noconvert(),
             py::arg("threads"), py::arg("isa"))
        .def("radius", &radius, py::arg("queries").noconvert(), py::arg("codes").noconvert(), py::arg("radius"), py::arg("mask").noconvert(),
             py::arg("threads"), py::arg("isa"))
        .def_property_readonly("n_codes", &Tables::n_codes)
        .def_property_readonly("memory", &Tables::memory)
        .def_property_readonly("keys",
                               [](const Tables& tables) {
                                   std::vector<std::pair<int, int>> keys;
                                   for (int64_t t = 0; t < tables.size(); ++t) keys.emplace_back(tables[t].start, tables[t].width);
                                   return keys;
                               })
        .def_property_readonly_static("max_codes", [](const py::object&) { return Tables::kMaxCodes; })
        .def_static("cost_of_build", &cost_of_build, py::arg("n_codes"), py::arg("n_bytes"), py::arg("n_bits"), py::arg("n_tables"),
                    py::arg("fast"), py::arg("threads"))
        .def_static("cost_of_scan", &cost_of_scan, py::arg("n_codes"), py::arg("n_bytes"), py::arg("n_queries"), py::arg("threads"))
        .def("probes", [](const Tables& tables, int64_t radius) { return tables.probes_before(std::min(radius + 1, tables.n_steps())); },
             py::arg("radius"));
}

}  // namespace fasthash
