// The values that an instruction has just written, taken out of the engine's memory: for dumps and comparisons.
#pragma once

#include <cstdint>
#include <vector>

#include "isa/verify.hpp"
#include "support/span.hpp"

namespace openbpu::engine {

// Dense and row major; int8 as the file means it, however the engine holds it.
struct Written {
  isa::DType dtype = isa::DType::None;
  std::vector<std::uint64_t> shape;
  double scale = 0;  // 0: not quantised
  std::int32_t zero_point = 0;
  std::vector<std::uint8_t> bytes;
};

// Where the regions of an engine begin. int8 in the arenas is held as value ^ flip.
struct Regions {
  const std::uint8_t* ddr;
  const std::uint8_t* sram;
  Span<void* const> outputs;
  std::uint8_t flip;
};

// The output box of the instruction, (n, h, w, c), or the outputs of a CPUCALL; nothing if it writes none.
std::vector<Written> read_written(const isa::Instruction& instruction, const isa::Sections& sections,
                                  const Regions& regions);

}  // namespace openbpu::engine
