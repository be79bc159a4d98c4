// One instruction made ready: kernel row, parameter block, packed weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "container/program.hpp"
#include "engine/engine.hpp"
#include "engine/features.hpp"
#include "support/aligned.hpp"

namespace openbpu::engine {

// A pointer into the caller's memory, known only when run is called.
struct PortView {
  std::uint8_t** data;
  isa::Region region;  // In or Out
  std::uint32_t port;
  std::uint64_t offset;         // of the first element
  std::uint32_t alignment = 1;  // that the caller's memory must have
};

// What a step reads and writes, for fuse(). No output: the step takes no part in it.
struct Operands {
  kernels::View in[2];
  int inputs = 0;
  kernels::View out{};
};

class Step {
 public:
  virtual ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  virtual void run(std::uint8_t* scratch, std::int32_t begin, std::int32_t end) const = 0;

  // Prepares constant operands in plan.packed_bytes bytes of zeros that outlive the step; called once, if there are
  // any.
  virtual void pack(std::uint8_t*) {}

  virtual Operands operands() const { return {}; }
  // Whether region() tells what a unit computes.
  virtual bool has_regions() const { return false; }
  virtual kernels::Region region(std::int32_t) const { return {}; }
  // Whether run_region() can compute any part of the output: element-wise operators without broadcast.
  virtual bool is_elementwise() const { return false; }
  virtual void run_region(const kernels::Region&) const {}
  // What was wrong with the data in the run before, or null; forgets it.
  virtual const char* failure() const { return nullptr; }

  kernels::Plan plan{0, 0, 1};
  StepInfo info{};
  std::size_t position = 0;  // of the instruction among those that do something
  std::string reason;        // what info.reason points at
  std::vector<PortView> ports;
  std::vector<AlignedBytes> constants;  // operands that lie in the file, stored as kernels expect them
  bool threaded = false;                // worth more than one thread
  bool stops = false;                   // TRAP: the run ends here with an error
  std::int32_t trap = 0;                // its number

 protected:
  Step();
};

// Where surfaces live while the engine runs, and how.
struct Memory {
  const container::Program* program;
  const isa::Sections* sections;  // surfaces and operator records: those of the program, or of its host form
  std::uint8_t* ddr;
  std::uint8_t* sram;
  std::uint8_t flip;  // storage of int8 in ddr and sram (kernels/kernel.hpp)
};

// Null for instructions that do nothing at run time (NOP, MARK, END).
Result<std::unique_ptr<Step>> bind(const isa::Instruction& instruction, const Memory& memory, const IsaInfo& isa);

}  // namespace openbpu::engine
