// Programs as text, derived from the tables.
#pragma once

#include <string>

#include "isa/verify.hpp"

namespace openbpu::isa {

// One line per instruction of the entry: index, waits, mnemonic, operands with place and extents, parameters.
// The sections must have passed verify().
std::string disassemble(const Entry& entry, const Sections& sections);

}  // namespace openbpu::isa
