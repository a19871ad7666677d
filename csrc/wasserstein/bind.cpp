#include <pybind11/stl.h>

#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "sorted_cost.h"
#include "two_point_cost.h"

namespace py = pybind11;

namespace fasthash::wasserstein_bindings {

namespace {

template <class T>
double cost(const py::array_t<T>& x, const Array<int64_t>& n_low, double split, double low, double high, double p,
            OptionalArray<T> gradient, double scale, int threads, const std::string& isa) {
    constexpr const char* name = "two_point_cost";
    const int64_t n = x.shape(0), m = x.shape(1);
    check_shape(name, "n_low", n_low, {m});
    const TwoPointColumns<T> columns{
        x.data(), n, m, stride(x, 0), stride(x, 1), n_low.data(), split, low, high, p, output(name, "gradient", gradient, {n, m}), scale};
    const WassersteinKernel kernel = wasserstein_kernel(select_isa(isa));
    const int n_threads = thread_count(threads);
    double sum = 0;
    run_interruptible([&](const std::function<bool()>& interrupted) { sum = two_point_cost<T>(columns, kernel, n_threads, interrupted); });
    return sum;
}

template <class T>
SampleColumns<T> sample(const char* gradient_name, const py::array_t<T>& x, OptionalArray<T>& gradient) {
    const int64_t n = x.shape(0);
    return {x.data(), n, stride(x, 0), stride(x, 1), output("sorted_cost", gradient_name, gradient, {n, x.shape(1)})};
}

template <class T>
double cost_between(const py::array_t<T>& x, const py::array_t<T>& y, double p, OptionalArray<T> gradient_x, OptionalArray<T> gradient_y,
                    double scale, int threads) {
    const int64_t m = x.shape(1);
    check_shape("sorted_cost", "y", y, {y.shape(0), m});
    const SampleColumns<T> first = sample("gradient_x", x, gradient_x), second = sample("gradient_y", y, gradient_y);
    const int n_threads = thread_count(threads);
    double sum = 0;
    run_interruptible(
        [&](const std::function<bool()>& interrupted) { sum = sorted_cost<T>(first, second, m, p, scale, n_threads, interrupted); });
    return sum;
}

template <class T>
void define(py::module_& m) {
    m.def("two_point_cost", &cost<T>, exact("x"), exact("n_low"), py::arg("split"), py::arg("low"), py::arg("high"), py::arg("p"),
          exact("gradient"), py::arg("scale"), py::arg("threads"), py::arg("isa"));
    m.def("sorted_cost", &cost_between<T>, exact("x"), exact("y"), py::arg("p"), exact("gradient_x"), exact("gradient_y"), py::arg("scale"),
          py::arg("threads"));
}

}  // namespace

void add_to(py::module_& m) {
    define<float>(m);
    define<double>(m);
}

}  // namespace fasthash::wasserstein_bindings
