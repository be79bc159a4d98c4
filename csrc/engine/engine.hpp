// Runs one entry of a verified program. One thread of calls at a time per Engine; many Engines per Program.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "container/program.hpp"
#include "kernels/kernel.hpp"
#include "support/span.hpp"
#include "support/status.hpp"

namespace openbpu::engine {

struct Options {
  std::string entry;         // name; empty: the first
  std::string isa = "auto";  // auto, scalar, avx2, avx512vnni, ... ; an ISA that the host lacks is an error
  int threads = 1;           // 0: all that the calling thread may use
  // How int8 lies in the arenas (kernels/kernel.hpp): 0 or 0x80; unset: what suits the ISA. For tests of scalar rows.
  std::optional<std::uint8_t> flip;
};

// What one instruction became.
struct StepInfo {
  std::uint32_t instruction;  // index in the entry
  isa::Op op;
  std::uint32_t layer;
  const char* row;     // kernel row chosen
  const char* reason;  // why it is not the first row of the ISA asked for, or ""
  std::uint64_t macs;
  std::uint64_t bytes;        // operands read and written once, about
  std::uint64_t nanoseconds;  // of the last profiled run
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const container::Program> program,
                                                const Options& options = {});
  ~Engine();

  // Pointers to dense row-major buffers of the ports' sizes, in port order; no alignment needed. Allocates nothing.
  // Fails with Code::Trap where the program stops itself; the outputs are then undefined.
  Status run(Span<const void* const> inputs, Span<void* const> outputs);
  // The same with times per step; read them with steps().
  Status run_profiled(Span<const void* const> inputs, Span<void* const> outputs);

  Span<const StepInfo> steps() const;
  const char* isa() const;
  int threads() const;
  Span<const isa::Port> inputs() const;
  Span<const isa::Port> outputs() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  Status run_steps(Span<const void* const> inputs, Span<void* const> outputs, bool timed);
  std::unique_ptr<State> state_;
};

// The entry of that name; the first if the name is empty. Fails with a list of those that there are.
Result<const isa::Entry*> find_entry(const container::Program& program, const std::string& name);

std::vector<std::string> available_isas();  // best first, ends with "scalar"
std::vector<std::string> host_features();   // "avx2", "avx512vnni", ...

}  // namespace openbpu::engine
