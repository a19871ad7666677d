#include <pybind11/stl.h>

#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "rotation.h"

namespace py = pybind11;

namespace fasthash::householder_bindings {

namespace {

RotationKernels rotation_kernels(const std::string& isa) {
    const Isa level = select_isa(isa);
    return {householder_kernel(level), matrix_product_kernel(level)};
}

template <class T>
Rotation<T> rotation(const OptionalArray<T>& x, const Array<T>& v, const char* function, bool transpose) {
    const int64_t l = v.shape(0), k = v.shape(1), n = x ? x->shape(0) : k;
    if (x) check_shape(function, "x", *x, {n, k});
    return {n, k, l, data_or_null(x), v.data(), transpose};
}

template <class T>
void apply(const OptionalArray<T>& x, const Array<T>& v, bool transpose, Array<T> y, Array<T> q, Array<T> s_inverse, int threads,
           const std::string& isa) {
    constexpr const char* name = "householder_apply";
    const RotationKernels kernels = rotation_kernels(isa);
    const Rotation<T> of = rotation(x, v, name, transpose);
    T* const out_y = output(name, "y", y, {of.n, of.k});
    T* const out_q = output(name, "q", q, {of.n, of.l});
    T* const out_s_inverse = output(name, "s_inverse", s_inverse, {of.l, of.l});
    const int n_threads = thread_count(threads);
    run_interruptible([&](const std::function<bool()>& interrupted) {
        householder_apply(of, out_y, out_q, out_s_inverse, kernels, n_threads, interrupted);
    });
}

template <class T>
void backward(const Array<T>& dy, const OptionalArray<T>& x, const Array<T>& v, const Array<T>& q, const Array<T>& s_inverse,
              bool transpose, OptionalArray<T> dx, Array<T> dv, int threads, const std::string& isa) {
    constexpr const char* name = "householder_backward";
    const RotationKernels kernels = rotation_kernels(isa);
    const Rotation<T> of = rotation(x, v, name, transpose);
    check_shape(name, "dy", dy, {of.n, of.k});
    check_shape(name, "q", q, {of.n, of.l});
    check_shape(name, "s_inverse", s_inverse, {of.l, of.l});
    T* const out_dx = output(name, "dx", dx, {of.n, of.k});
    T* const out_dv = output(name, "dv", dv, {of.l, of.k});
    const int n_threads = thread_count(threads);
    run_interruptible([&](const std::function<bool()>& interrupted) {
        householder_backward(of, dy.data(), q.data(), s_inverse.data(), out_dx, out_dv, kernels, n_threads, interrupted);
    });
}

template <class T>
void define(py::module_& m) {
    m.def("householder_apply", &apply<T>, exact("x"), exact("v"), py::arg("transpose"), exact("y"), exact("q"), exact("s_inverse"),
          py::arg("threads"), py::arg("isa"));
    m.def("householder_backward", &backward<T>, exact("dy"), exact("x"), exact("v"), exact("q"), exact("s_inverse"), py::arg("transpose"),
          exact("dx"), exact("dv"), py::arg("threads"), py::arg("isa"));
}

}  // namespace

void add_to(py::module_& m) {
    define<float>(m);
    define<double>(m);
}

}  // namespace fasthash::householder_bindings
