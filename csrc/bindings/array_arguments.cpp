#include "array_arguments.h"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <string>

#if !defined(_WIN32)
#include <pthread.h>
#include <unistd.h>
#endif

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

#if !defined(_WIN32)
void stay(void*) {
    for (;;) pause();
}
#endif

// Calls `work`, which asks for the GIL. Up to Python 3.13 a thread that asks for the GIL of an interpreter that ends is ended itself, by
// pthread_exit: its stack is unwound, through functions that may not throw and frames that other threads still work on. A cleanup handler,
// which comes before those, keeps the thread where it is until the process ends, as Python does from 3.14.
template <class Work>
void surviving_the_interpreter(const Work& work) {
#if defined(_WIN32)
    work();
#else
    pthread_cleanup_push(stay, nullptr);
    work();
    pthread_cleanup_pop(0);
#endif
}

void take_gil(PyThreadState* thread) {
    surviving_the_interpreter([thread] { PyEval_RestoreThread(thread); });
}

// Whether the handler of a signal raises. Collections of garbage may run meanwhile, which let others have the GIL.
bool signal_raises(PyThreadState* thread) {
    bool raises = false;
    surviving_the_interpreter([&] {
        PyEval_RestoreThread(thread);
        raises = PyErr_CheckSignals() != 0;
        PyEval_SaveThread();
    });
    return raises;
}

}  // namespace

void check_shape(const char* function, const char* argument, const py::array& array, std::initializer_list<int64_t> shape) {
    if (std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim())) return;
    throw std::invalid_argument(std::string(function) + ": expected " + argument + " of shape " +
                                shape_name(shape.begin(), static_cast<int64_t>(shape.size())) + ", got " +
                                shape_name(array.shape(), array.ndim()));
}

void run_interruptible(const std::function<void(const std::function<bool()>&)>& work) {
    PyThreadState* const thread = PyEval_SaveThread();
    bool stopped = false;
    std::exception_ptr error;
    try {
        work([thread] { return signal_raises(thread); });
    } catch (const Interrupted&) {
        stopped = true;
    } catch (...) {
        error = std::current_exception();
    }
    take_gil(thread);
    if (stopped) throw py::error_already_set();
    if (error) std::rethrow_exception(error);
}

int thread_count(int threads) { return threads > 0 ? threads : default_threads(); }

}  // namespace fasthash
