// Runs one model of a program.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "openbpu/program.hpp"
#include "openbpu/status.hpp"

namespace openbpu::runtime {

class Execution;  // the task that a run belongs to (task.hpp)

struct EngineOptions {
  std::string model = {};    // empty: the first
  std::string isa = "auto";  // auto, scalar, avx2, ...: an ISA that the machine lacks is an error
  int threads = 1;           // 1 .. 128; 0: all processors that the process may use
  // Memory for the activations, 64-byte aligned, at least required_memory() bytes, alive as long as the engine. Engines
  // that never run at the same time may share it. Null: the engine allocates it.
  void* arena = nullptr;
  std::size_t arena_bytes = 0;
};

// Instructions that have just run; several where the engine joined them.
struct InstructionEvent {
  std::uint32_t instruction;  // index of the first in the model
  std::uint32_t count;
  const char* operation;  // of the first: "CONV2D", ...
  const char* kernel;     // that ran it
  std::uint32_t layer;    // key of the source map in the metadata
  std::uint64_t macs;
  std::uint64_t bytes;              // operands read and written once, about
  std::uint64_t start_nanoseconds;  // of std::chrono::steady_clock
  std::uint64_t end_nanoseconds;
};

struct RunOptions {
  const std::atomic<bool>* cancel = nullptr;  // once true, the run ends with Cancelled at its next instruction
  std::chrono::milliseconds timeout{0};       // after that, with Timeout; 0: never
  void (*trace)(void* context, const InstructionEvent& event) = nullptr;  // on the calling thread
  void* trace_context = nullptr;
  Execution* execution = nullptr;  // inside a task's work: the run may be preempted and shares the processors
};

// One run at a time; make several engines of a program to run it on several threads at once.
class OPENBPU_API Engine {
 public:
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  // Bytes of arena that create() will need: all activations. Packed weights and some kilobytes of scratch memory per
  // thread come on top and are the engine's own.
  static Result<std::size_t> required_memory(const Program& program, const EngineOptions& options = {}) noexcept;
  // Chooses kernels and packs weights. The engine keeps the program alive.
  static Result<Engine> create(const Program& program, const EngineOptions& options = {}) noexcept;

  // One pointer per port, in order, to dense buffers of Port::bytes, aligned to their elements. Allocates nothing
  // unless it fails. BadArgument for wrong buffers or options and while another run of the engine is under way;
  // Cancelled in the child of a process that forked during a run. The outputs are undefined after an error; the engine
  // can be used again.
  Status run(Span<const void* const> inputs, Span<void* const> outputs, const RunOptions& options = {}) noexcept;

  Span<const Port> inputs() const noexcept;
  Span<const Port> outputs() const noexcept;
  const char* isa() const noexcept;
  int threads() const noexcept;

 private:
  struct OPENBPU_LOCAL State;
  OPENBPU_LOCAL explicit Engine(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace openbpu::runtime
