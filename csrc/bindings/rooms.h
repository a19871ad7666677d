#pragma once

#include <pybind11/pybind11.h>

namespace fasthash {

// Calls register_<room> of every room that has a bind.cpp.
void register_rooms(pybind11::module_& m);

}  // namespace fasthash
