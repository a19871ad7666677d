#include <pybind11/stl.h>

#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "../rounding.h"
#include "pack_bits.h"
#include "pack_projections.h"

namespace py = pybind11;

namespace fasthash::packing_bindings {

namespace {

Element element_from_name(const std::string& name) {
    static const std::pair<const char*, Element> elements[] = {
        {"uint8", Element::uint8},       {"int8", Element::int8},       {"int16", Element::int16},
        {"int32", Element::int32},       {"int64", Element::int64},     {"float16", Element::float16},
        {"bfloat16", Element::bfloat16}, {"float32", Element::float32}, {"float64", Element::float64}};
    for (const auto& [known, element] : elements) {
        if (name == known) return element;
    }
    throw py::type_error("pack_bits: element '" + name + "' cannot be packed");
}

// x [n, n_bits] in memory of any element type, named apart because NumPy has no bfloat16.
bool packed(const py::array& x, const std::string& element, Array<uint8_t> out, int threads, const std::string& isa) {
    const int64_t n = x.shape(0), n_bits = x.shape(1);
    const Elements elements{static_cast<const uint8_t*>(x.data()), element_from_name(element), x.itemsize(), n, n_bits};
    const PackingKernel kernel = packing_kernel(select_isa(isa));
    uint8_t* const codes = output("pack_bits", "out", out, {n, ceil_div(n_bits, 8)});
    const int n_threads = thread_count(threads);
    bool nan = false;
    run_interruptible([&](const std::function<bool()>& interrupted) { nan = pack_bits(elements, codes, kernel, n_threads, interrupted); });
    return nan;
}

template <class T>
int64_t projected(const py::array_t<T>& x, const Array<T>& projection, const OptionalArray<T>& offset, Array<uint8_t> out, int threads,
                  const std::string& isa) {
    constexpr const char* name = "pack_projections";
    const int64_t n = x.shape(0), d = x.shape(1), n_bits = projection.shape(1);
    check_shape(name, "projection", projection, {d, n_bits});
    if (offset) check_shape(name, "offset", *offset, {n_bits});
    const Projections<T> projections{x.data(), n, d, stride(x, 0), stride(x, 1), projection.data(), n_bits, data_or_null(offset)};
    const Isa level = select_isa(isa);
    const PackingKernel packing = packing_kernel(level);
    const Multiply<T> multiply = matrix_product_kernel(level).of<T>();
    uint8_t* const codes = output(name, "out", out, {n, ceil_div(n_bits, 8)});
    const int n_threads = thread_count(threads);
    int64_t nan = -1;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        nan = pack_projections<T>(projections, codes, multiply, packing, n_threads, interrupted);
    });
    return nan;
}

template <class T>
void define_projections(py::module_& m) {
    m.def("pack_projections", &projected<T>, exact("x"), exact("projection"), exact("offset"), exact("out"), py::arg("threads"),
          py::arg("isa"));
}

}  // namespace

void add_to(py::module_& m) {
    m.def("pack_bits", &packed, exact("x"), py::arg("element"), exact("out"), py::arg("threads"), py::arg("isa"));
    define_projections<float>(m);
    define_projections<double>(m);
}

}  // namespace fasthash::packing_bindings
