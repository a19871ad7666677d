#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
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
    SearchOptions options;

    Arguments(const Codes& query_codes, const Codes& codes, const std::optional<Codes>& mask_bits, int threads, const std::string& isa)
        : set{codes.data(), codes.shape(0), static_cast<int>(codes.shape(1)), nullptr},
          queries{query_codes.data(), query_codes.shape(0)},
          options{hamming_kernel(select_isa(isa)), thread_count(threads), {}} {
        if (codes.shape(1) != query_codes.shape(1)) throw std::invalid_argument("hamming: queries and codes differ in width");
        if (mask_bits) {
            if (mask_bits->size() != (set.n_codes + 7) / 8) throw std::invalid_argument("hamming: mask is not one bit a code");
            mask = std::make_unique<const Mask>(mask_bits->data(), set.n_codes);
            set.mask = mask.get();
        }
    }
};

void topk(const Codes& queries, const Codes& codes, int64_t k, const std::optional<Codes>& mask, Array<int32_t> distances,
          Array<int64_t> ids, int threads, const std::string& isa) {
    Arguments arguments(queries, codes, mask, threads, isa);
    int32_t* out_distances = distances.mutable_data();
    int64_t* out_ids = ids.mutable_data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        arguments.options.interrupted = interrupted;
        search_topk(arguments.set, arguments.queries, k, arguments.options, out_distances, out_ids);
    });
}

py::tuple radius(const Codes& queries, const Codes& codes, int64_t bound, const std::optional<Codes>& mask, int threads, const std::string& isa) {
    Arguments arguments(queries, codes, mask, threads, isa);
    Array<int64_t> offsets(arguments.queries.n_queries + 1);
    int64_t* out_offsets = offsets.mutable_data();
    HitLists hits;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        arguments.options.interrupted = interrupted;
        hits = search_radius(arguments.set, arguments.queries, bound, arguments.options);
        write_offsets(hits, out_offsets);
    });
    Array<int32_t> distances(out_offsets[arguments.queries.n_queries]);
    Array<int64_t> ids(out_offsets[arguments.queries.n_queries]);
    int32_t* out_distances = distances.mutable_data();
    int64_t* out_ids = ids.mutable_data();
    {
        py::gil_scoped_release release;
        write_hits(hits, arguments.set, out_distances, out_ids);
        HitLists().swap(hits);
    }
    return py::make_tuple(offsets, distances, ids);
}

void distance(const Codes& queries, const Codes& codes, Array<int32_t> distances, int threads, const std::string& isa) {
    Arguments arguments(queries, codes, std::nullopt, threads, isa);
    int32_t* out = distances.mutable_data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        arguments.options.interrupted = interrupted;
        all_distances(arguments.set, arguments.queries, arguments.options, out);
    });
}

}  // namespace

void register_hamming(py::module_& m) {
    m.def("hamming_topk", &topk, py::arg("queries").noconvert(), py::arg("codes").noconvert(), py::arg("k"), py::arg("mask").noconvert(),
          py::arg("distances").noconvert(), py::arg("ids").noconvert(), py::arg("threads"), py::arg("isa"));
    m.def("hamming_radius", &radius, py::arg("queries").noconvert(), py::arg("codes").noconvert(), py::arg("radius"),
          py::arg("mask").noconvert(), py::arg("threads"), py::arg("isa"));
    m.def("hamming_distance", &distance, py::arg("queries").noconvert(), py::arg("codes").noconvert(), py::arg("distances").noconvert(),
          py::arg("threads"), py::arg("isa"));
}

}  // namespace fasthash
