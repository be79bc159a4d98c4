// Tasks of the whole process on a few cores.
//
// A core is a thread that runs one task at a time; there are core_count() of them. A task waits in one queue until a
// core that it may use is free. Tasks of priority 254 and 255 do not wait for a lower level to end: the core that runs
// a task of a lower level stops it between two instructions, runs the urgent one on its own stack and goes on. The
// parallel regions of a task may use the processors that the other cores leave idle at that moment (thread_pool.hpp),
// so that one task alone is as fast as the machine allows and several do not fight for processors.
//
// Threads. Every call is safe from any thread. After fork the child has cores of its own; tasks of the parent never end
// in it, and wait() says so. When the process exits, queued tasks are cancelled and running ones stop at their next
// instruction. In a build without threads submit() runs the task at once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "support/status.hpp"

namespace openbpu::engine {

constexpr int kMaxCores = 4;
constexpr std::uint64_t kAnyCore = 1u << 7;
constexpr int kHighestPriority = 255;

// Cores of this process: OPENBPU_CORES (1 .. 4) if set, else as many as there are processors, at most 4.
int core_count();

// Whether this thread is in the work or call-back of a task: it must not wait for another.
bool on_core();

struct Schedule {
  int priority = 0;            // 0 .. 255; up to 253 queued, 254 preempts those, 255 preempts all others
  std::int64_t custom_id = 0;  // among equal priorities the smaller goes first, then who came first
  // Bit k: core k may run it, and it may use the processors of as many cores as there are bits. A core that the machine
  // lacks stands for core k modulo core_count(). kAnyCore alone: all.
  std::uint64_t cores = kAnyCore;
  // From submit; 0: none. A task that still waits for a core then ends at the next boundary of any, or when it is
  // waited for.
  std::chrono::milliseconds timeout{0};
};

class Task;
struct Core;

// The task that a core is running, as its work sees it.
class Execution {
 public:
  // To be called between instructions: runs tasks that preempt this one. Fails with Code::Cancelled or Code::Timeout.
  Status boundary();
  // Threads that the next instruction may use, at most `wanted`.
  int threads(int wanted) const;

 private:
  friend class Scheduler;
  friend class Task;
  Execution(Task& task, Core* core) : task_(task), core_(core) {}
  Task& task_;
  Core* core_;
};

// What a task does, on the thread of a core. Must not throw.
struct Work {
  Status (*run)(void* context, Execution& execution) = nullptr;
  void* context = nullptr;
};

// May be submitted again once it is done; nothing is allocated then.
class Task {
 public:
  Task() = default;
  // Cancels and waits. In the work or call-back of the task, or of one that preempted it, that would be for ever: the
  // process ends then, as with the destructor of a std::thread that runs.
  ~Task();
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Fails with Code::BadArgument for a wrong schedule or while the task is under way, with Code::Cancelled when the
  // process exits, with Code::NoMemory if the system gives no threads.
  Status submit(const Work& work, const Schedule& schedule = {});
  // The status that the task ended with. Code::Timeout after `timeout` (0: never); the task goes on. Code::BadArgument
  // if it was never submitted, if `timeout` is negative, or where on_core(), which would wait for itself.
  Status wait(std::chrono::milliseconds timeout = std::chrono::milliseconds{0});
  // Whether wait() would return at once.
  bool done() const;
  // A queued task ends at once, a running one at its next instruction.
  void cancel();
  // Called when the task has ended, before wait() returns: on the core's thread, or that of whoever cancelled it in the
  // queue. Not called for tasks that end with the process. Null: none. Fails while the task is under way.
  Status on_done(void (*call)(void* context, const Status& status), void* context);

 private:
  friend class Scheduler;
  friend class Execution;
  enum class State : std::uint8_t { Idle, Queued, Running, Ending, Done };
  bool is_lost() const;

  std::atomic<class Scheduler*> scheduler_{nullptr};  // that of the last submit
  std::atomic<State> state_{State::Idle};
  bool cancelled_ = false;
  Work work_;
  Schedule schedule_;
  std::uint64_t mask_ = 0;  // cores that exist
  std::chrono::steady_clock::time_point deadline_;
  Status status_;
  void (*call_)(void*, const Status&) = nullptr;
  void* call_context_ = nullptr;
  Core* core_ = nullptr;   // while running
  Task* below_ = nullptr;  // the task that this one preempted
  Task* next_ = nullptr;   // in the queue
};

}  // namespace openbpu::engine
