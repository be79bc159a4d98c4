// Work of the whole process on a few cores: priorities, preemption, time-outs, cancellation.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "openbpu/engine.hpp"
#include "openbpu/status.hpp"

namespace openbpu::runtime {

// Threads that run tasks, one at a time each: 1 .. 4, as the processors of the process allow. The environment variable
// OPENBPU_CORES (1 .. 4), read once, overrides.
OPENBPU_API int core_count() noexcept;

// Whether this thread is in the work or call-back of a task: it must not wait for another.
OPENBPU_API bool on_core() noexcept;

constexpr std::uint64_t kAnyCore = 1u << 7;

struct Schedule {
  // 0 .. 255. Up to 253 tasks wait for a core, higher ones first. 254 stops tasks below 254 between two instructions,
  // 255 those below 255.
  int priority = 0;
  std::int64_t custom_id = 0;  // among equal priorities the smaller goes first, then who came first
  // Bit k: core k. A core that the machine lacks stands for core k modulo core_count(). A run uses the processors of as
  // many cores as there are bits, as far as its engine has threads and other tasks leave them. kAnyCore alone: all.
  std::uint64_t cores = kAnyCore;
  // From submit(), after which the task ends with Timeout; 0: none. One that still waits for a core then ends at the
  // next instruction of any task, or when it is waited for.
  std::chrono::milliseconds timeout{0};
};

// What a task does, on the thread of a core: hand `execution` to the runs in it. Must not throw.
struct Work {
  Status (*run)(void* context, Execution& execution) = nullptr;
  void* context = nullptr;
};

// May be submitted again once it is done; nothing is allocated then. Safe from any thread. A task that was submitted
// before the process forked fails in the child; when the process exits, queued tasks are cancelled and running ones
// stop at their next instruction.
class OPENBPU_API Task {
 public:
  Task() noexcept;
  // Cancels and waits. In the work or call-back of the task, or of one that preempted it, that would be for ever: the
  // process ends then, as with the destructor of a std::thread that runs.
  ~Task();
  Task(Task&&) noexcept;
  Task& operator=(Task&&) noexcept;

  // The engine and the buffers must live until the task is done. BadArgument for a wrong schedule or while the task is
  // under way. An engine runs one task at a time: the run of a second one fails.
  Status submit(Engine& engine, Span<const void* const> inputs, Span<void* const> outputs,
                const Schedule& schedule = {}) noexcept;
  Status submit(const Work& work, const Schedule& schedule = {}) noexcept;
  // The status that the task ended with; Timeout after `timeout` (0: never), and the task goes on; BadArgument if it
  // was not submitted, if `timeout` is negative, or where on_core(), which would wait for itself.
  Status wait(std::chrono::milliseconds timeout = std::chrono::milliseconds{0}) noexcept;
  bool done() const noexcept;  // wait() would not wait
  // A queued task ends at once, a running one at its next instruction.
  void cancel() noexcept;
  // `call` comes when the task has ended and before wait() returns, on the thread of the core, or of whoever cancelled
  // the task in the queue. Null: none. BadArgument while the task is under way.
  Status on_done(void (*call)(void* context, const Status& status), void* context) noexcept;

 private:
  struct OPENBPU_LOCAL State;
  template <class Call>
  OPENBPU_LOCAL Status change(Call call) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace openbpu::runtime
