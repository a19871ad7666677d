#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "../hamming/code_set.h"
#include "../rounding.h"
#include "pair_search.h"

namespace py = pybind11;

namespace fasthash::pairs_bindings {

namespace {

using Codes = Array<uint8_t>;

constexpr int64_t kMaxCodes = (int64_t{1} << 32) - 2;

// A search and the arrays that it reads.
class BoundPairSearch {
public:
    BoundPairSearch(Codes codes, OptionalArray<uint8_t> others, const OptionalArray<uint8_t>& mask, int64_t radius, int64_t since,
                    int64_t first, int64_t capacity, int n_parts, int threads, const std::string& isa)
        : codes_(std::move(codes)), others_(std::move(others)) {
        const int64_t n_codes = codes_.shape(0), n_bytes = codes_.shape(1), n_others = others_ ? others_->shape(0) : 0;
        check_shape("PairSearch", "codes", codes_, {n_codes, n_bytes});
        if (others_) check_shape("PairSearch", "others", *others_, {n_others, n_bytes});
        if (mask) check_shape("PairSearch", "mask", *mask, {ceil_div(n_codes, 8)});
        expect(n_bytes >= 1 && 8 * n_bytes <= kMaxBits, "codes of 1 to 512 bytes", n_bytes);
        expect(n_codes + n_others <= kMaxCodes, "fewer than 2^32 - 1 codes", n_codes + n_others);
        expect(radius >= 0, "radius of at least 0", radius);
        expect(since >= 0 && since <= (others_ ? 0 : n_codes), "since from 0 to the number of codes of one set", since);
        expect(first >= 0 && first <= n_codes, "first from 0 to the number of codes", first);
        expect(capacity >= 0, "capacity of at least 0", capacity);
        const bool fits = n_parts > radius && n_parts <= 8 * n_bytes;
        expect(n_parts == kCheapest || n_parts == kScan || fits, "n_parts of more than the radius, 0 or -1", n_parts);
        const Isa level = select_isa(isa);
        const PairOptions options{pairs_kernel(level), hamming_kernel(level), thread_count(threads), n_parts, capacity};
        run_interruptible([&](const std::function<bool()>& interrupted) {
            CodeRows rows{codes_.data(), n_codes, data_or_null(others_), n_others, static_cast<int>(n_bytes), others_.has_value()};
            rows.since = since;
            if (mask) rows.taking_part = eligible(mask->data(), n_codes, n_others);
            search_ = std::make_unique<PairSearch>(std::move(rows), radius, first, options, interrupted);
        });
    }

    bool step() {
        bool last = false;
        run_interruptible([&](const std::function<bool()>& interrupted) { last = search_->step(interrupted); });
        return last;
    }

    py::tuple take() {
        const int64_t n = search_->n_pairs();
        Array<int64_t> i(n), j(n);
        Array<int32_t> distances(n);
        int64_t *const out_i = i.mutable_data(), *const out_j = j.mutable_data();
        int32_t* const out_distances = distances.mutable_data();
        run_interruptible([&](const std::function<bool()>& interrupted) { search_->take(out_i, out_j, out_distances, interrupted); });
        return py::make_tuple(i, j, distances);
    }

    const PairSearch& search() const { return *search_; }

private:
    static void expect(bool holds, const char* what, int64_t got) {
        if (!holds) throw std::invalid_argument("PairSearch: expected " + std::string(what) + ", got " + std::to_string(got));
    }

    const Codes codes_;
    const OptionalArray<uint8_t> others_;
    std::unique_ptr<PairSearch> search_;
};

}  // namespace

void add_to(py::module_& m) {
    py::class_<BoundPairSearch>(m, "PairSearch")
        .def(py::init<Codes, OptionalArray<uint8_t>, const OptionalArray<uint8_t>&, int64_t, int64_t, int64_t, int64_t, int, int,
                      const std::string&>(),
             exact("codes"), exact("others"), exact("mask"), py::arg("radius"), py::arg("since"), py::arg("first"), py::arg("capacity"),
             py::arg("n_parts"), py::arg("threads"), py::arg("isa"))
        .def("step", &BoundPairSearch::step)
        .def("take", &BoundPairSearch::take)
        .def_property_readonly("first", [](const BoundPairSearch& bound) { return bound.search().first(); })
        .def_property_readonly("end", [](const BoundPairSearch& bound) { return bound.search().end(); })
        .def_property_readonly("share_done", [](const BoundPairSearch& bound) { return bound.search().share_done(); })
        .def_property_readonly("n_parts", [](const BoundPairSearch& bound) { return bound.search().n_parts(); })
        .def_property_readonly_static("max_codes", [](const py::object&) { return kMaxCodes; });
}

}  // namespace fasthash::pairs_bindings
