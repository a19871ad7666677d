#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "../array_arguments.h"
#include "../cpu_features.h"
#include "sorted_cost.h"
#include "two_point_cost.h"

namespace py = pybind11;

namespace fasthash {

namespace {

template <class T>
double cost(const py::array_t<T>& x, const Array<int64_t>& n_low, double split, double low, double high, double p,
            std::optional<Array<T>> gradient, double scale, int threads, const std::string& isa) {
    const WassersteinKernel kernel = wasserstein_kernel(select_isa(isa));
    const TwoPointColumns<T> columns{
        x.data(), x.shape(0), x.shape(1), static_cast<int64_t>(x.strides(0)) / x.itemsize(), static_cast<int64_t>(x.strides(1)) / x.itemsize(),
        n_low.data(), split, low, high, p, gradient ? gradient->mutable_data() : nullptr, scale};
    double sum = 0;
    run_interruptible([&](const std::function<bool()>& interrupted) { sum = two_point_cost<T>(columns, kernel, thread_count(threads), interrupted); });
    return sum;
}

template <class T>
SampleColumns<T> sample(const py::array_t<T>& x, std::optional<Array<T>>& gradient) {
    return {x.data(), x.shape(0), static_cast<int64_t>(x.strides(0)) / x.itemsize(), static_cast<int64_t>(x.strides(1)) / x.itemsize(),
            gradient ? gradient->mutable_data() : nullptr};
}

template <class T>
double cost_between(const py::array_t<T>& x, const py::array_t<T>& y, double p, std::optional<Array<T>> gradient_x, std::optional<Array<T>> gradient_y,
                    double scale, int threads) {
    const SampleColumns<T> first = sample(x, gradient_x), second = sample(y, gradient_y);
    const int64_t m = x.shape(1);
    double sum = 0;
    run_interruptible([&](const std::function<bool()>& interrupted) { sum = sorted_cost<T>(first, second, m, p, scale, thread_count(threads), interrupted); });
    return sum;
}

template <class T>
void define(py::module_& m) {
    m.def("two_point_cost", &cost<T>, py::arg("x").noconvert(), py::arg("n_low").noconvert(), py::arg("split"), py::arg("low"), py::arg("high"),
          py::arg("p"), py::arg("gradient").noconvert(), py::arg("scale"), py::arg("threads"), py::arg("isa"));
    m.def("sorted_cost", &cost_between<T>, py::arg("x").noconvert(), py::arg("y").noconvert(), py::arg("p"), py::arg("gradient_x").noconvert(),
          py::arg("gradient_y").noconvert(), py::arg("scale"), py::arg("threads"));
}

}  // namespace

void register_wasserstein(py::module_& m) {
    define<float>(m);
    define<double>(m);
}

}  // namespace fasthash
