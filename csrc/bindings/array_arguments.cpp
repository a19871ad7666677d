#include "array_arguments.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "../thread_pool.h"

namespace py = pybind11;

namespace fasthash {

namespace {

template <class Shape>
std::string shape_name(const Shape* shape, int64_t n) {
    std::string name;
    for (int64_t axis = 0; axis < n; ++axis) name += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
    return "[" + name + "]";
}

}  // namespace

void check_shape(const char* function, const char* argument, const py::array& array, std::initializer_list<int64_t> shape) {
    if (std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim())) return;
    throw std::invalid_argument(std::string(function) + ": expected " + argument + " of shape " +
                                shape_name(shape.begin(), static_cast<int64_t>(shape.size())) + ", got " +
                                shape_name(array.shape(), array.ndim()));
}

void run_interruptible(const std::function<void(const std::function<bool()>&)>& work) {
    try {
        py::gil_scoped_release release;
        work([] {
            py::gil_scoped_acquire acquire;
            return PyErr_CheckSignals() != 0;
        });
    } catch (const Interrupted&) {
        throw py::error_already_set();
    }
}

int thread_count(int threads) { return threads > 0 ? threads : default_threads(); }

}  // namespace fasthash
