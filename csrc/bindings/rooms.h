#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "../cpu_features.h"

namespace fasthash {

// Calls <room>_bindings::add_to of every room that has a bind.cpp.
void register_rooms(pybind11::module_& m);

// The level whose kernel a room takes for this one.
Isa room_level(const std::string& room, Isa isa);

}  // namespace fasthash
