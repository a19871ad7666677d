#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "pack_bits.h"
#include "pack_projections.h"

namespace py = pybind11;

namespace fasthash {

namespace {

Element element_from_name(const std::string& name) {
    static const std::pair<const char*, Element> elements[] = {
        {"uint8", Element::uint8}, {"int8", Element::int8}, {"int16", Element::int16},
        {"int32", Element::int32}, {"int64", Element::int64}, {"float16", Element::float16},
        {"bfloat16", Element::bfloat16}, {"float32", Element::float32}, {"float64", Element::float64}};
    for (const auto& [known, element] : elements) {
        if (name == known) return element;
    }
    throw py::type_error("pack_bits: element '" + name + "' cannot be packed");
}

// x [n, n_bits] in memory of any element type, named apart because NumPy has no bfloat16.
bool packed(const py::array& x, const std::string& element, Array<uint8_t> out, int threads, const std::string& isa) {
    const Elements elements{static_cast<const uint8_t*>(x.data()), element_from_name(element), x.itemsize(), x.shape(0), x.shape(1)};
    uint8_t* const codes = out.mutable_data();
    bool nan = false;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        nan = pack_bits(elements, codes, packing_kernel(select_isa(isa)), thread_count(threads), interrupted);
    });
    return nan;
}

template <class T>
int64_t projected(const py::array_t<T>& x, const Array<T>& projection, const std::optional<Array<T>>& offset, Array<uint8_t> out, int threads,
                  const std::string& isa) {
    const int64_t bytes = x.itemsize();
    const Projections<T> projections{x.data(), x.shape(0), x.shape(1), x.strides(0) / bytes, x.strides(1) / bytes, projection.data(),
                                     projection.shape(1), offset ? offset->data() : nullptr};
    const Isa level = select_isa(isa);
    uint8_t* const codes = out.mutable_data();
    int64_t nan = -1;
    run_interruptible([&](const std::function<bool()>& interrupted) {
        nan = pack_projections<T>(projections, codes, matrix_product_kernel(level).multiply<T>(), packing_kernel(level), thread_count(threads),
                                  interrupted);
    });
    return nan;
}

template <class T>
void define_projections(py::module_& m) {
    m.def("pack_projections", &projected<T>, py::arg("x").noconvert(), py::arg("projection").noconvert(), py::arg("offset").noconvert(),
          py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"));
}

}  // namespace

void register_packing(py::module_& m) {
    m.def("pack_bits", &packed, py::arg("x").noconvert(), py::arg("element"), py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"));
    define_projections<float>(m);
    define_projections<double>(m);
}

}  // namespace fasthash
