#include <algorithm>
#include <string>

#include "../bindings/array_arguments.h"
#include "../cpu_features.h"
#include "../rounding.h"
#include "../thread_pool.h"
#include "kernel.h"

namespace py = pybind11;

namespace fasthash::ROOM_bindings {

namespace {

constexpr int64_t kElementsPerTask = 1 << 16;

template <class T>
void ROOM(const Array<T>& x, Array<T> out, int threads, const std::string& isa) {
    const int64_t n = x.shape(0), m = x.shape(1);
    const T* const from = x.data();
    T* const to = output("ROOM", "out", out, {n});
    const CamelROOMFunctions<T> functions = ROOM_kernel(select_isa(isa)).of<T>();
    const int64_t rows_per_task = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, m));
    const int n_threads = thread_count(threads);
    run_interruptible([&](const std::function<bool()>& interrupted) {
        parallel_for(ceil_div(n, rows_per_task), n_threads, interrupted, [&](Job& job, int64_t task) {
            const int64_t first = task * rows_per_task, count = std::min(rows_per_task, n - first);
            functions.rows(from + first * m, count, m, to + first);
            job.checkpoint(count * m);
        });
    });
}

}  // namespace

void add_to(py::module_& m) {
    m.def("ROOM", &ROOM<float>, exact("x"), exact("out"), py::arg("threads"), py::arg("isa"));
    m.def("ROOM", &ROOM<double>, exact("x"), exact("out"), py::arg("threads"), py::arg("isa"));
}

}  // namespace fasthash::ROOM_bindings
