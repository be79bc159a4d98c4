#include "engine/scheduler.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "engine/thread_pool.hpp"

namespace openbpu::engine {
namespace {

using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNever = Clock::time_point::max();

Clock::time_point after(std::chrono::milliseconds timeout) {
  if (timeout.count() <= 0) return kNever;
  const Clock::time_point now = Clock::now();
  return timeout < std::chrono::duration_cast<std::chrono::milliseconds>(kNever - now) ? now + timeout : kNever;
}

Status check(const Work& work, const Schedule& schedule) {
  const std::uint64_t known = kAnyCore | ((1u << kMaxCores) - 1);
  if (!work.run) return {Code::BadArgument, "task", "needs work"};
  if (schedule.priority < 0 || schedule.priority > kHighestPriority)
    return {Code::BadArgument, "priority", "must be 0 to 255; got " + std::to_string(schedule.priority)};
  if (schedule.cores == 0 || (schedule.cores & ~known) != 0)
    return {Code::BadArgument, "cores",
            "bits 0 to 3 name cores, bit 7 stands for any; got " + std::to_string(schedule.cores)};
  if (schedule.timeout.count() < 0)
    return {Code::BadArgument, "timeout",
            "must not be negative; got " + std::to_string(schedule.timeout.count()) + " ms"};
  return {};
}

// Tasks of a higher level stop those of a lower one.
int level(const Schedule& schedule) { return std::max(0, schedule.priority - 253); }

bool goes_before(const Schedule& a, const Schedule& b) {
  return a.priority != b.priority ? a.priority > b.priority : a.custom_id < b.custom_id;
}

// The cores that a schedule names, folded onto those that exist.
std::uint64_t existing_cores(std::uint64_t cores, int count) {
  if (cores & kAnyCore) return (1u << count) - 1;
  std::uint64_t mask = 0;
  for (int k = 0; k < kMaxCores; ++k)
    if (cores >> k & 1) mask |= std::uint64_t{1} << k % count;
  return mask;
}

int bits(std::uint64_t mask) {
  int count = 0;
  for (; mask; mask &= mask - 1) ++count;
  return count;
}

}  // namespace

int core_count() {
#if defined(OPENBPU_NO_THREADS)
  return 1;
#else
  static const int count = [] {
    const char* wish = std::getenv("OPENBPU_CORES");
    const int given = wish ? std::atoi(wish) : 0;
    return given >= 1 && given <= kMaxCores ? given : std::min(kMaxCores, available_processors());
  }();
  return count;
#endif
}

bool Task::done() const {
  const State state = state_.load(std::memory_order_acquire);
  return state == State::Done || state == State::Idle || is_lost();
}

}  // namespace openbpu::engine

#if defined(OPENBPU_NO_THREADS)

namespace openbpu::engine {

namespace {

thread_local int depth = 0;  // of submit() on this thread

}  // namespace

bool on_core() { return depth > 0; }

Status Execution::boundary() {
  if (task_.cancelled_) return {Code::Cancelled, "task", "it was cancelled"};
  if (task_.deadline_ != kNever && Clock::now() > task_.deadline_)
    return {Code::Timeout, "task", "it ran longer than its time-out"};
  return {};
}

int Execution::threads(int) const { return 1; }

Task::~Task() = default;

bool Task::is_lost() const { return false; }

Status Task::submit(const Work& work, const Schedule& schedule) {
  if (Status status = check(work, schedule); !status.ok()) return status;
  if (!done()) return {Code::BadArgument, "task", "it is under way"};
  schedule_ = schedule;
  deadline_ = after(schedule.timeout);
  cancelled_ = false;
  state_ = State::Running;
  Execution execution(*this, nullptr);
  ++depth;
  status_ = work.run(work.context, execution);
  state_ = State::Ending;
  if (call_) call_(call_context_, status_);
  --depth;
  state_ = State::Done;
  return {};
}

Status Task::wait(std::chrono::milliseconds) {
  if (state_ == State::Done || state_ == State::Ending) return status_;
  return {Code::BadArgument, "task", state_ == State::Idle ? "it was not submitted" : "it would wait for itself"};
}

void Task::cancel() { cancelled_ = true; }

Status Task::on_done(void (*call)(void*, const Status&), void* context) {
  if (!done()) return {Code::BadArgument, "task", "it is under way"};
  call_ = call;
  call_context_ = context;
  return {};
}

}  // namespace openbpu::engine

#else

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <new>

#include "engine/thread.hpp"

namespace openbpu::engine {

struct Core {
  Scheduler* scheduler = nullptr;
  int index = 0;
  Task* running = nullptr;             // the innermost, where tasks preempted others
  bool sleeping = false;               // and not yet told of a task
  std::atomic<bool> attention{false};  // the running task must look up at its next boundary
  std::condition_variable wake;
};

namespace {

thread_local Core* this_core = nullptr;

// How long the exit of the process waits for work that does not look up.
constexpr std::chrono::seconds kPatience{10};

}  // namespace

// All members are guarded by mutex_ unless atomic.
class Scheduler {
 public:
  using Lock = std::unique_lock<std::mutex>;
  using State = Task::State;

  Status submit(Task& task, const Work& work, const Schedule& schedule) {
    Lock lock(mutex_);
    if (task.scheduler_ == this && !is_at_rest(task)) return {Code::BadArgument, "task", "it is under way"};
    if (closing_) return {Code::Cancelled, "task", "the process exits"};
    if (Status status = start_cores(); !status.ok()) return status;
    task.scheduler_ = this;
    task.work_ = work;
    task.schedule_ = schedule;
    task.mask_ = existing_cores(schedule.cores, count_);
    task.deadline_ = after(schedule.timeout);
    task.cancelled_ = false;
    task.status_ = {};
    task.state_ = State::Queued;
    enqueue(task);
    find_core(task);
    return {};
  }

  Status wait(Task& task, std::chrono::milliseconds timeout) {
    const Clock::time_point give_up = after(timeout);
    Lock lock(mutex_);
    while (task.state_ != State::Done) {
      if (task.state_ == State::Idle) return {Code::BadArgument, "task", "it was not submitted"};
      if (this_core) {
        if (task.state_ == State::Ending && task.core_ == this_core) return task.status_;
        return {Code::BadArgument, "task", "a task must not wait for a task"};
      }
      const Clock::time_point now = Clock::now();
      if (now >= give_up) return {Code::Timeout, "task", "it is not done yet"};
      if (now >= task.deadline_ && task.state_ == State::Queued) {
        withdraw(lock, task, late());
        continue;
      }
      Clock::time_point until = give_up;
      if (task.state_ == State::Queued) until = std::min(until, task.deadline_);
      if (until == kNever)
        ended(task).wait(lock);
      else
        ended(task).wait_until(lock, until);
    }
    return task.status_;
  }

  void cancel(Task& task) {
    Lock lock(mutex_);
    if (task.state_ == State::Queued) return withdraw(lock, task, cancelled());
    if (task.state_ != State::Running) return;
    task.cancelled_ = true;
    task.core_->attention.store(true, std::memory_order_relaxed);
  }

  Status set_call(Task& task, void (*call)(void*, const Status&), void* context) {
    Lock lock(mutex_);
    if (task.scheduler_ == this && !is_at_rest(task)) return {Code::BadArgument, "task", "it is under way"};
    task.call_ = call;
    task.call_context_ = context;
    return {};
  }

  Status boundary(Task& task, Core& core) {
    if (core.attention.load(std::memory_order_relaxed)) {
      Lock lock(mutex_);
      while (!task.cancelled_) {
        Task* urgent = pick(core, level(task.schedule_) + 1);
        if (!urgent) break;
        execute(lock, core, *urgent);
      }
      look_up(core);
      if (task.cancelled_) return cancelled();
    }
    if (task.deadline_ != kNever && Clock::now() > task.deadline_) return late();
    return {};
  }

  // Processors are dealt out evenly: to the cores that a task may use, and to the tasks that run.
  int threads(const Task& task, int wanted) const {
    const int busy = std::max(1, busy_.load(std::memory_order_relaxed));
    const int share = std::min(processors_ * bits(task.mask_) / count_, processors_ / busy);
    return std::clamp(share, 1, wanted);
  }

  // Cancels what is queued and stops what runs, so that no thread of ours computes while the process is taken down.
  void close() {
    Lock lock(mutex_);
    closing_ = true;
    while (Task* task = queue_) {
      remove(*task);
      task->call_ = nullptr;
      finish(lock, *task, {Code::Cancelled, "task", "the process exits"});
    }
    for (Core& core : cores_)
      for (Task* task = core.running; task; task = task->below_) {
        task->cancelled_ = true;
        task->call_ = nullptr;
        core.attention.store(true, std::memory_order_relaxed);
      }
    const auto at_rest = [this] {
      for (const Core& core : cores_)
        if (core.running && &core != this_core) return false;
      return true;
    };
    rest_.wait_for(lock, kPatience, at_rest);
  }

 private:
  static Status cancelled() { return {Code::Cancelled, "task", "it was cancelled"}; }
  static Status late() { return {Code::Timeout, "task", "it was not done within its time-out"}; }
  static bool is_at_rest(const Task& task) { return task.state_ == State::Idle || task.state_ == State::Done; }
  static bool may_run(const Task& task, const Core& core) { return (task.mask_ >> core.index & 1) != 0; }

  std::condition_variable& ended(const Task& task) {
    return ended_[reinterpret_cast<std::uintptr_t>(&task) / sizeof(Task) % kConditions];
  }

  Status start_cores() {
    for (; started_ < count_; ++started_) {
      Core& core = cores_[started_];
      core.scheduler = this;
      core.index = started_;
      if (!start_detached(enter, &core, "openbpu core")) {
        if (started_ == 0) return {Code::NoMemory, "task", "the system gives no thread"};
        count_ = started_;
      }
    }
    return {};
  }

  static void* enter(void* argument) {
    Core& core = *static_cast<Core*>(argument);
    this_core = &core;
    core.scheduler->serve(core);
    return nullptr;
  }

  [[noreturn]] void serve(Core& core) {
    Lock lock(mutex_);
    while (true) {
      if (Task* task = pick(core, 0)) {
        execute(lock, core, *task);
        continue;
      }
      core.sleeping = true;
      core.wake.wait(lock, [&] { return !core.sleeping; });
    }
  }

  void enqueue(Task& task) {
    Task** place = &queue_;
    while (*place && !goes_before(task.schedule_, (*place)->schedule_)) place = &(*place)->next_;
    task.next_ = *place;
    *place = &task;
  }

  void remove(Task& task) {
    Task** place = &queue_;
    while (*place != &task) place = &(*place)->next_;
    *place = task.next_;
    task.next_ = nullptr;
  }

  // The first task in the queue that the core may run and that is at least of that level.
  Task* pick(const Core& core, int least) const {
    for (Task* task = queue_; task; task = task->next_)
      if (may_run(*task, core) && level(task->schedule_) >= least) return task;
    return nullptr;
  }

  // Wakes a core for a task, or has one that runs a task of the lowest level look up.
  void find_core(const Task& task) {
    Core* lowest = nullptr;
    for (Core& core : cores_) {
      if (!may_run(task, core)) continue;
      if (core.sleeping) {
        core.sleeping = false;
        core.wake.notify_one();
        return;
      }
      if (core.running && (!lowest || level(core.running->schedule_) < level(lowest->running->schedule_)))
        lowest = &core;
    }
    if (lowest && level(lowest->running->schedule_) < level(task.schedule_))
      lowest->attention.store(true, std::memory_order_relaxed);
  }

  void look_up(Core& core) {
    const Task* task = core.running;
    const bool needed = task && (task->cancelled_ || pick(core, level(task->schedule_) + 1));
    core.attention.store(needed, std::memory_order_relaxed);
  }

  void execute(Lock& lock, Core& core, Task& task) {
    remove(task);
    task.state_ = State::Running;
    task.core_ = &core;
    task.below_ = core.running;
    core.running = &task;
    if (!task.below_) busy_.fetch_add(1, std::memory_order_relaxed);
    look_up(core);
    Status status = Clock::now() > task.deadline_ ? late() : Status();
    if (status.ok()) {
      lock.unlock();
      Execution execution(task, &core);
      status = task.work_.run(task.work_.context, execution);
      lock.lock();
    }
    Task* const below = task.below_;
    finish(lock, task, std::move(status));
    core.running = below;
    if (!below) busy_.fetch_sub(1, std::memory_order_relaxed);
    look_up(core);
    if (closing_) rest_.notify_all();
  }

  void withdraw(Lock& lock, Task& task, Status status) {
    remove(task);
    task.core_ = this_core;
    finish(lock, task, std::move(status));
  }

  // Afterwards the task may be gone.
  void finish(Lock& lock, Task& task, Status status) {
    task.status_ = std::move(status);
    task.state_ = State::Ending;
    if (task.call_) {
      lock.unlock();
      task.call_(task.call_context_, task.status_);
      lock.lock();
    }
    std::condition_variable& condition = ended(task);
    task.state_ = State::Done;
    condition.notify_all();
  }

  static constexpr std::size_t kConditions = 16;

  std::mutex mutex_;
  std::condition_variable ended_[kConditions];  // not in the tasks: a child of fork must be able to destroy those
  std::condition_variable rest_;
  Core cores_[kMaxCores];
  int count_ = core_count();
  const int processors_ = available_processors();
  int started_ = 0;
  Task* queue_ = nullptr;  // in the order in which they are to run
  std::atomic<int> busy_{0};
  bool closing_ = false;
};

namespace {

std::atomic<Scheduler*> current{nullptr};
std::atomic<bool> watches_process{false};

void close_at_exit() {
  if (Scheduler* scheduler = current.load()) scheduler->close();
}

// The cores of the parent do not exist in the child, and its locks may be held for ever: forget them.
void forget_after_fork() {
  current.store(nullptr);
  this_core = nullptr;
}

// Null if there is no memory. Never destroyed: its threads live as long as the process.
Scheduler* scheduler() {
  if (Scheduler* existing = current.load(std::memory_order_acquire)) return existing;
  if (!watches_process.exchange(true)) {
    pthread_atfork(nullptr, nullptr, forget_after_fork);
    std::atexit(close_at_exit);
  }
  Scheduler* none = nullptr;
  auto* created = new (std::nothrow) Scheduler;
  if (current.compare_exchange_strong(none, created)) return created;
  delete created;
  return none;
}

}  // namespace

bool on_core() { return this_core != nullptr; }

Status Execution::boundary() { return task_.scheduler_->boundary(task_, *core_); }
int Execution::threads(int wanted) const { return task_.scheduler_->threads(task_, wanted); }

// Submitted before a fork, and this is the child.
bool Task::is_lost() const { return scheduler_ && scheduler_ != current.load(std::memory_order_acquire); }

Task::~Task() {
  if (done()) return;
  cancel();
  (void)wait();
}

Status Task::submit(const Work& work, const Schedule& schedule) {
  if (Status status = check(work, schedule); !status.ok()) return status;
  Scheduler* shared = scheduler();
  if (!shared) return {Code::NoMemory, "task", "no memory for the scheduler"};
  return shared->submit(*this, work, schedule);
}

Status Task::wait(std::chrono::milliseconds timeout) {
  if (!scheduler_) return {Code::BadArgument, "task", "it was not submitted"};
  if (is_lost() && state_ != State::Done)
    return {Code::Cancelled, "task", "it was submitted before the process forked, and never ends in the child"};
  return is_lost() ? status_ : scheduler_->wait(*this, timeout);
}

void Task::cancel() {
  if (scheduler_ && !is_lost()) scheduler_->cancel(*this);
}

Status Task::on_done(void (*call)(void*, const Status&), void* context) {
  if (scheduler_ && !is_lost()) return scheduler_->set_call(*this, call, context);
  call_ = call;
  call_context_ = context;
  return {};
}

}  // namespace openbpu::engine

#endif
