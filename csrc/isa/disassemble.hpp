// Programs as text, derived from the tables.
#pragma once

#include <string>

#include "isa/verify.hpp"

namespace openbpu::isa {

// Comment lines with the entry and its ports, then one line per instruction: index, layer, mnemonic, operands with
// place, extents and (unless dense) strides, constants, the box (unless all of out), parameters that are not zero,
// waits. The sections must have passed verify().
std::string disassemble(const Entry& entry, const Sections& sections);

}  // namespace openbpu::isa
