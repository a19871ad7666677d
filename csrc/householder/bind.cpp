#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "rotation.h"

namespace py = pybind11;

namespace fasthash {

namespace {

RotationKernels rotation_kernels(const std::string& isa) {
    const Isa level = select_isa(isa);
    return {householder_kernel(level), matrix_product_kernel(level)};
}

template <class T>
using OptionalArray = std::optional<Array<T>>;

template <class T>
Rotation<T> rotation(const OptionalArray<T>& x, const Array<T>& v, bool transpose) {
    return {x ? x->shape(0) : v.shape(1), v.shape(1), v.shape(0), x ? x->data() : nullptr, v.data(), transpose};
}

template <class T>
void apply(const OptionalArray<T>& x, const Array<T>& v, bool transpose, Array<T> y, Array<T> q, Array<T> s_inverse, int threads,
           const std::string& isa) {
    const RotationKernels kernels = rotation_kernels(isa);
    const Rotation<T> of = rotation(x, v, transpose);
    T *const rotated = y.mutable_data(), *const factor = q.mutable_data(), *const inverse = s_inverse.mutable_data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        householder_apply(of, rotated, factor, inverse, kernels, thread_count(threads), interrupted);
    });
}

template <class T>
void backward(const Array<T>& dy, const OptionalArray<T>& x, const Array<T>& v, const Array<T>& q, const Array<T>& s_inverse,
              bool transpose, OptionalArray<T> dx, Array<T> dv, int threads, const std::string& isa) {
    const RotationKernels kernels = rotation_kernels(isa);
    const Rotation<T> of = rotation(x, v, transpose);
    T *const in_x = dx ? dx->mutable_data() : nullptr, *const in_v = dv.mutable_data();
    run_interruptible([&](const std::function<bool()>& interrupted) {
        householder_backward(of, dy.data(), q.data(), s_inverse.data(), in_x, in_v, kernels, thread_count(threads), interrupted);
    });
}

template <class T>
void define(py::module_& m) {
    m.def("householder_apply", &apply<T>, py::arg("x").noconvert(), py::arg("v").noconvert(), py::arg("transpose"), py::arg("y").noconvert(),
          py::arg("q").noconvert(), py::arg("s_inverse").noconvert(), py::arg("threads"), py::arg("isa"));
    m.def("householder_backward", &backward<T>, py::arg("dy").noconvert(), py::arg("x").noconvert(), py::arg("v").noconvert(),
          py::arg("q").noconvert(), py::arg("s_inverse").noconvert(), py::arg("transpose"), py::arg("dx").noconvert(),
          py::arg("dv").noconvert(), py::arg("threads"), py::arg("isa"));
}

}  // namespace

void register_householder(py::module_& m) {
    define<float>(m);
    define<double>(m);
}

}  // namespace fasthash
