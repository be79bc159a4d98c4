// The exact machine: queues that run ahead of one another as far as waits allow, memory that starts as noise.
//
// It runs the same steps as the engine does, one at a time, in a random legal order, and looks at every byte: programs
// with a missing wait, a read of what was never written or weights that are not where they should be fail here.
#pragma once

#include <vector>

#include "isa/access.hpp"
#include "support/status.hpp"

namespace openbpu::engine {

struct Arenas {
  std::uint8_t* ddr;
  std::uint8_t* sram;
};

class ExactMachine {
 public:
  ExactMachine(const isa::Entry& entry, const isa::Sections& sections, const Arenas& arenas, std::uint64_t seed);

  // Fills the arenas with noise, forgets what was written, and draws an order of instructions.
  const std::vector<std::uint32_t>& start();
  // Whether an instruction reads only what has been written, and its weights are those of the file.
  Status before(std::uint32_t instruction);
  void after(std::uint32_t instruction);
  // What instructions of the BPU have moved through the DDR port since start(): operands outside SRAM, and weights.
  std::uint64_t moved_bytes() const { return moved_; }

 private:
  const isa::Instruction& code(std::uint32_t k) const { return sections_.code[entry_.first_instruction + k]; }
  std::uint64_t random();
  bool may_start(std::uint32_t k, const std::uint32_t (&retired)[4]) const;
  void draw_order();
  std::uint64_t constants_read(const isa::Instruction& instruction) const;
  std::vector<std::uint8_t>* written(const isa::Surface& surface);

  const isa::Entry& entry_;
  const isa::Sections& sections_;
  const Arenas arenas_;
  std::uint64_t state_;
  std::uint64_t moved_ = 0;
  std::vector<std::uint32_t> order_;
  std::vector<std::uint8_t> ddr_written_, sram_written_;
  std::vector<isa::Access> touched_;
};

}  // namespace openbpu::engine
