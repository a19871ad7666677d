#include "array_arguments.h"

#include "thread_pool.h"

namespace py = pybind11;

namespace fasthash {

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
