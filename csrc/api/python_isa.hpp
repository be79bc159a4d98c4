// The instruction set as data for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace openbpu {

// Adds records, instructions, formats, flags and cpu_kernels: functions that give lists and dicts of the tables.
void define_isa(pybind11::module_& module);

}  // namespace openbpu
