#pragma once

// What the bindings share: arguments that are arrays, the choice of threads, and Ctrl-C.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>

namespace fasthash {

// Of exactly this dtype and C-contiguous, where the argument is `exact`.
template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;
template <class T>
using OptionalArray = std::optional<Array<T>>;

// An array argument that is taken as it is, or a TypeError: a silent copy would hide a caller's mistake.
inline pybind11::arg exact(const char* name) { return pybind11::arg(name).noconvert(); }

// Throws std::invalid_argument for an array of another shape.
void check_shape(const char* function, const char* argument, const pybind11::array& array, std::initializer_list<int64_t> shape);

// Where to write the elements of an array of this shape; null for an argument left out.
template <class T>
T* output(const char* function, const char* argument, Array<T>& array, std::initializer_list<int64_t> shape) {
    check_shape(function, argument, array, shape);
    return array.mutable_data();
}
template <class T>
T* output(const char* function, const char* argument, OptionalArray<T>& array, std::initializer_list<int64_t> shape) {
    return array ? output(function, argument, *array, shape) : nullptr;
}

template <class T>
const T* data_or_null(const OptionalArray<T>& array) {
    return array ? array->data() : nullptr;
}

// From one element along an axis to the next, in elements.
inline int64_t stride(const pybind11::array& array, int axis) { return array.strides(axis) / array.itemsize(); }

// Calls `work(interrupted)` without the GIL; a pending signal's exception, KeyboardInterrupt say, comes out of it. No other function lets go
// of the GIL or takes it: a thread whose interpreter ends meanwhile stays in here for ever.
void run_interruptible(const std::function<void(const std::function<bool()>&)>& work);

// A `threads` argument: 0 means the default, which is in the environment; so with the GIL, without which another thread might change that.
int thread_count(int threads);

}  // namespace fasthash
