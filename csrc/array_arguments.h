#pragma once

// What the bindings share: array arguments, the choice of threads, and Ctrl-C.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>

namespace fasthash {

// Exactly this dtype and C-contiguous, or a TypeError: a silent copy would hide a caller's mistake.
template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

// Calls `work(interrupted)` without the GIL; a pending signal's exception, KeyboardInterrupt say, comes out of it.
void run_interruptible(const std::function<void(const std::function<bool()>&)>& work);

// A `threads` argument: 0 means the default.
int thread_count(int threads);

}  // namespace fasthash
