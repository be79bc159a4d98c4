// The semantic verifier: what must hold before an instruction may run (docs/isa.md, Rules).
#pragma once

#include "isa/isa.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::isa {

// The sections of a program; sizes are checked, contents are hostile.
struct Sections {
  Span<const Entry> entries;
  Span<const Port> ports;
  Span<const Surface> surfaces;
  Span<const Const> consts;
  Span<const Instruction> code;
  Span<const u8> aux, constants, strings;
};

// Ok, or the first breach: which record, which field, the rule and the value. Accepting means that a run in program
// order reads and writes inside its regions and overflows nowhere. `arena_limit` bounds DDR and SRAM bytes of an entry.
Status verify(const Sections& sections, u64 arena_limit);

// Multiply-accumulates of one instruction; 0 for others than the MAC group.
u64 macs(const Instruction& instruction, const Sections& sections);

}  // namespace openbpu::isa
