// The semantic verifier: what must hold before an instruction may run (docs/isa.md, Rules).
#pragma once

#include "isa/isa.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::isa {

// The sections of a program. Contents are hostile until verify() has accepted them.
struct Sections {
  Span<const Entry> entries;
  Span<const Port> ports;
  Span<const Surface> surfaces;
  Span<const Const> consts;
  Span<const Instruction> code;
  Span<const u8> aux, constants, strings;
};

// Ok, or the first breach: which record, which field, the rule and the value. Accepting means that a run in program
// order reads and writes inside its regions and overflows nowhere. `memory_limit` bounds each arena of an entry and
// each port. Takes time linear in the sections and in the work of one run.
Status verify(const Sections& sections, u64 memory_limit);

// Multiply-accumulates of one instruction: products of a weight (or run-time factor) with a tap, taps in the padding
// included; of a TCONV2D the products that reach the output box. 0 outside the MAC group and for ids that lead nowhere.
u64 macs(const Instruction& instruction, const Sections& sections);

// The same over the instructions of an entry; saturates.
u64 macs(const Entry& entry, const Sections& sections);

}  // namespace openbpu::isa
