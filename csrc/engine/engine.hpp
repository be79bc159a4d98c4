// Runs one entry of a verified program. One thread of calls at a time per Engine; many Engines per Program.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "container/program.hpp"
#include "engine/scheduler.hpp"
#include "engine/written.hpp"
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
  // Memory for the activations, 64-byte aligned, at least required_memory() bytes, alive as long as the engine; engines
  // that never run at the same time may share it. Null: the engine allocates it.
  void* arena = nullptr;
  std::size_t arena_bytes = 0;
  // Whether element-wise operators may run unit by unit with the instruction before them. If not, the output of every
  // instruction stands in memory when its event comes.
  bool join = true;
  // Run the program as it is written, copies and stripes included, with queues in a random order that its waits allow,
  // on memory that starts as noise; a race between queues, a read of what was not written or misplaced weights is an
  // error. Slow: for tests. See exact.hpp.
  bool exact_machine = false;
  std::uint64_t seed = 0;  // of that order and noise
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

// Instructions that have just run, on the calling thread; several where they were joined.
struct Event {
  const StepInfo& first;
  std::uint32_t instructions;
  std::chrono::steady_clock::time_point start, end;
};

// What may end a run between two instructions, and what is told of them.
struct Control {
  const std::atomic<bool>* cancel = nullptr;  // once true, the run ends with Code::Cancelled
  std::chrono::milliseconds timeout{0};       // after that, with Code::Timeout; 0: never
  void (*trace)(void* context, const Event& event) = nullptr;
  void* trace_context = nullptr;
  Execution* execution = nullptr;  // the task that the run belongs to: it may be preempted, and shares processors
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const container::Program> program,
                                                const Options& options = {});
  ~Engine();

  // Bytes of Options::arena for an entry. Fails for a name that the program lacks.
  static Result<std::uint64_t> required_memory(const container::Program& program, const std::string& entry);

  // Pointers to dense row-major buffers of the ports' sizes, in port order, aligned to their elements. Allocates
  // nothing.
  // Fails with Code::Trap where the program stops itself, with Code::BadArgument while another run of this engine is
  // under way, with Code::Cancelled in the child of a fork during a run, and as `control` demands; the outputs are then
  // undefined, and the engine may be used again.
  Status run(Span<const void* const> inputs, Span<void* const> outputs, const Control& control = {});
  // The same with times per step; read them with steps().
  Status run_profiled(Span<const void* const> inputs, Span<void* const> outputs);

  // What instruction `index` of the entry has just written: to be called from the trace of a run into `outputs`, of an
  // engine that joins nothing.
  std::vector<Written> written(std::uint32_t index, Span<void* const> outputs) const;

  Span<const StepInfo> steps() const;
  // Whether the stripes and copies of the program were joined (host_form.hpp).
  bool is_joined() const;
  // Bytes that the last run moved through the DDR port (exact.hpp); 0 but on the exact machine.
  std::uint64_t moved_bytes() const;
  const char* isa() const;
  int threads() const;
  Span<const isa::Port> inputs() const;
  Span<const isa::Port> outputs() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  template <class Observe>
  Status run_steps(Span<const void* const> inputs, Span<void* const> outputs, const Control& control, Observe observe);
  template <class Observe>
  Status run_step(std::size_t k, Span<const void* const> inputs, Span<void* const> outputs, int threads,
                  Observe observe);
  std::unique_ptr<State> state_;
};

// The entry of that name; the first if the name is empty. Fails with a list of those that there are.
Result<const isa::Entry*> find_entry(const container::Program& program, const std::string& name);

std::vector<std::string> available_isas();  // best first, ends with "scalar"
std::vector<std::string> host_features();   // "avx2", "avx512vnni", ...

}  // namespace openbpu::engine
