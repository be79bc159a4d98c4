// Which bytes an instruction reads and writes: for the verifier, the race check and the engine.
#pragma once

#include <vector>

#include "isa/reflect.hpp"
#include "isa/verify.hpp"

namespace openbpu::isa {

// Rows [first, end) of a tensor.
struct Rows {
  u32 first, end;
};

// The rows of an input (A, B or M) under the output box, clipped to the tensor; of words that check_operation() has
// accepted.
Rows input_rows(const Instruction& instruction, const Sections& sections, Operand which);

// The bytes of the constant `weight` that the output box needs.
struct ByteRange {
  u64 offset, size;
};
ByteRange weight_range(const Instruction& instruction, const Sections& sections);

// Bytes in DDR, SRAM, IN or OUT: a surface without rolling. `home` are the same elements in HOME, or in CONST for the
// weights that LDW brings; only if `has_home`.
struct Access {
  Surface bytes;
  Surface home;
  bool has_home;
  bool write;
};

// All that a verified instruction touches outside CONST; a rolling window that wraps gives two.
void accesses(const Instruction& instruction, const Sections& sections, std::vector<Access>& out);

// Ok, or the first byte hazard between queues that no wait covers. The entry has passed verify().
Status check_races(const Entry& entry, const Sections& sections);

}  // namespace openbpu::isa
