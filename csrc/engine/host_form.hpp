// The fast way to run a program for a small SRAM: stripes joined, copies left out, each logical tensor in one place.
//
// Surfaces name their home, a surface in HOME; the homes of a tensor's copies are equal. The program is followed in its
// order with a ledger of which bytes hold which elements. If each operand is found to hold what its home names, then
// the program computes the same with its homes as operands. There, copies from a tensor to itself do nothing, and
// instructions that differ only in their boxes are one, where no dependence stands between them. Nothing is taken on
// trust: a program that cannot be proved runs as it is written.
#pragma once

#include <optional>
#include <vector>

#include "isa/verify.hpp"

namespace openbpu::engine {

struct HostForm {
  std::vector<isa::Instruction> code;
  std::vector<std::uint32_t> index;    // of the last instruction that each stands for, in the entry
  std::vector<isa::Surface> surfaces;  // those in HOME lie in DDR
  std::vector<std::uint8_t> aux;       // of CPUCALLs with operands in HOME
  std::uint64_t bytes = 0;             // of the arena

  // The program's sections with these in place.
  isa::Sections sections(const isa::Sections& program) const;
};

// Nothing if the entry names no homes or cannot be proved.
std::optional<HostForm> find_host_form(const isa::Entry& entry, const isa::Sections& sections);

}  // namespace openbpu::engine
