#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cpu_features.h"
#include "thread_pool.h"

namespace py = pybind11;

namespace fasthash {
void register_packing(py::module_& m);
void register_hamming(py::module_& m);
}  // namespace fasthash

PYBIND11_MODULE(_core, m) {
    using namespace fasthash;
    m.doc() = "Compiled kernels of fasthash: NumPy arrays in and out; see the .pyi file beside it.";
    m.attr("__version__") = FASTHASH_VERSION;
    m.def("runnable_isas", [] {
        std::vector<std::string> names;
        for (Isa isa : runnable_isas()) names.emplace_back(isa_name(isa));
        return names;
    });
    m.def("active_isa", [] { return std::string(isa_name(select_isa())); });
    m.def("default_threads", &default_threads);
    register_packing(m);
    register_hamming(m);
}
