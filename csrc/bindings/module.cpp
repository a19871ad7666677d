#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "../cpu_features.h"
#include "../cpu_quota.h"
#include "../thread_pool.h"
#include "rooms.h"

namespace py = pybind11;

namespace fasthash {

namespace {

std::vector<std::string> names(const std::vector<Isa>& isas) {
    std::vector<std::string> result;
    for (Isa isa : isas) result.emplace_back(isa_name(isa));
    return result;
}

}  // namespace

}  // namespace fasthash

PYBIND11_MODULE(_core, m) {
    using namespace fasthash;
    m.doc() = "Compiled kernels of fasthash: NumPy arrays in and out; see the .pyi file beside it.";
    m.attr("__version__") = FASTHASH_VERSION;
    m.def("built_isas", [] { return names(built_isas()); });
    m.def("runnable_isas", [] { return names(runnable_isas()); });
    m.def("active_isa", [] { return std::string(isa_name(select_isa())); });
    m.def(
        "room_level", [](const std::string& room, const std::string& isa) { return isa_name(room_level(room, select_isa(isa))); },
        py::arg("room"), py::arg("isa") = "");
    m.def("default_threads", &default_threads);
    m.def("cpu_quota", &cpu_quota, py::arg("root"));
    m.def("processors", &processors, py::arg("quota"));
    register_rooms(m);
    // Lets pybind11 look up NumPy's functions. It does so once, and lets go of the GIL: a fork or the interpreter's end in the midst of that
    // would be the end of what comes after.
    py::dtype::of<uint8_t>();
}
