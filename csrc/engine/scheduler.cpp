#include "engine/scheduler.hpp"

#if !defined(OPENBPU_NO_THREADS)

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <utility>

#include "engine/deadline.hpp"
#include "engine/schedule.hpp"
#include "engine/thread.hpp"
#include "engine/thread_pool.hpp"

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
thread_local const Task* calling = nullptr;  // whose call-back this thread is in

// How long the exit of the process waits for work that does not look up.
constexpr std::chrono::seconds kPatience{10};

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
    task.deadline_ = deadline_after(schedule.timeout);
    task.cancelled_ = false;
    task.status_ = {};
    task.state_ = State::Queued;
    enqueue(task);
    find_core(task);
    return {};
  }

  Status wait(Task& task, std::chrono::milliseconds timeout) {
    const Clock::time_point give_up = deadline_after(timeout);
    Lock lock(mutex_);
    while (task.state_ != State::Done) {
      if (task.state_ == State::Idle) return {Code::BadArgument, "task", "it was not submitted"};
      if (task.state_ == State::Ending && &task == calling) return task.status_;
      if (on_core()) return {Code::BadArgument, "task", "a task must not wait for a task"};
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

  // Cancels the task and waits for its end, on any thread but those that it would need for that.
  void end(Task& task) {
    cancel(task);
    Lock lock(mutex_);
    while (task.state_ != State::Done) {
      if (stands_on(task)) {
        std::fputs("openbpu: a task must not be destroyed by its own work or call-back\n", stderr);
        std::terminate();
      }
      ended(task).wait(lock);
    }
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
    const bool some_wait = next_deadline_.load(std::memory_order_relaxed) != kNever.time_since_epoch().count();
    if (task.deadline_ == kNever && !some_wait) return {};
    const Clock::time_point now = Clock::now();
    if (some_wait) end_late_ones(now);
    return now > task.deadline_ ? late() : Status();
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

  // Whether this thread is in the work or call-back of the task, or of one that preempted it.
  static bool stands_on(const Task& task) {
    for (const Task* below = this_core ? this_core->running : nullptr; below; below = below->below_)
      if (below == &task) return true;
    return calling == &task;
  }

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
    const Clock::rep deadline = task.deadline_.time_since_epoch().count();
    if (deadline < next_deadline_.load(std::memory_order_relaxed))
      next_deadline_.store(deadline, std::memory_order_relaxed);
  }

  void remove(Task& task) {
    Task** place = &queue_;
    while (*place != &task) place = &(*place)->next_;
    *place = task.next_;
    task.next_ = nullptr;
  }

  // Ends the tasks in the queue whose time is over: nobody may be waiting for them.
  void end_late_ones(Clock::time_point now) {
    if (now.time_since_epoch().count() <= next_deadline_.load(std::memory_order_relaxed)) return;
    Lock lock(mutex_);
    Task* late_one;
    Clock::time_point next;
    do {
      late_one = nullptr;
      next = kNever;
      for (Task* task = queue_; task && !late_one; task = task->next_) {
        if (now > task->deadline_) late_one = task;
        next = std::min(next, task->deadline_);
      }
      if (late_one) withdraw(lock, *late_one, late());  // the queue may be another one now
    } while (late_one);
    next_deadline_.store(next.time_since_epoch().count(), std::memory_order_relaxed);
  }

  // The first task in the queue that the core may run and that is at least of that level.
  Task* pick(const Core& core, int least) const {
    for (Task* task = queue_; task; task = task->next_)
      if (may_run(*task, core) && level(task->schedule_) >= least) return task;
    return nullptr;
  }

  // Wakes a core for a task, or has one look up that runs a task of the lowest level and was not told of another.
  void find_core(const Task& task) {
    Core* best = nullptr;
    for (Core& core : cores_) {
      if (!may_run(task, core)) continue;
      if (core.sleeping) {
        core.sleeping = false;
        core.wake.notify_one();
        return;
      }
      if (core.running && (!best || reluctance(core) < reluctance(*best))) best = &core;
    }
    if (best && level(best->running->schedule_) < level(task.schedule_))
      best->attention.store(true, std::memory_order_relaxed);
  }

  static int reluctance(const Core& core) {
    return 2 * level(core.running->schedule_) + core.attention.load(std::memory_order_relaxed);
  }

  // A core that was told of one task may take another, which came first for it: the one that is left must not wait
  // while a core sleeps that may run it, or runs a task of a lower level.
  void pass_on() {
    const bool some_sleep = std::any_of(cores_, cores_ + kMaxCores, [](const Core& core) { return core.sleeping; });
    for (Task* task = queue_; task && (some_sleep || level(task->schedule_) > 0); task = task->next_) find_core(*task);
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
    pass_on();
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
    finish(lock, task, std::move(status));
  }

  // Afterwards the task may be gone.
  void finish(Lock& lock, Task& task, Status status) {
    task.status_ = std::move(status);
    task.state_ = State::Ending;
    if (task.call_) {
      lock.unlock();
      const Task* const outer = std::exchange(calling, &task);
      task.call_(task.call_context_, task.status_);
      calling = outer;
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
  Task* queue_ = nullptr;                                                     // in the order in which they are to run
  std::atomic<Clock::rep> next_deadline_{kNever.time_since_epoch().count()};  // in the queue, or earlier
  std::atomic<int> busy_{0};
  bool closing_ = false;
};

namespace {

std::atomic<Scheduler*> current{nullptr};
std::atomic<bool> watches_process{false};

void close_at_exit() {
  if (Scheduler* scheduler = current.load()) scheduler->close();
}

std::atomic<Scheduler*> of_parent{nullptr};  // out of use, but not leaked

// The cores of the parent do not exist in the child, and its locks may be held for ever: forget them.
void forget_after_fork() {
  of_parent.store(current.exchange(nullptr));
  this_core = nullptr;
  calling = nullptr;
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

bool on_core() { return this_core || calling; }

Status Execution::boundary() { return task_.scheduler_.load()->boundary(task_, *core_); }
int Execution::threads(int wanted) const { return task_.scheduler_.load()->threads(task_, wanted); }

// Submitted before a fork, and this is the child.
bool Task::is_lost() const {
  const Scheduler* const last = scheduler_.load();
  return last && last != current.load(std::memory_order_acquire);
}

Task::~Task() {
  if (!done()) scheduler_.load()->end(*this);
}

Status Task::submit(const Work& work, const Schedule& schedule) {
  if (Status status = check(work, schedule); !status.ok()) return status;
  Scheduler* shared = scheduler();
  if (!shared) return {Code::NoMemory, "task", "no memory for the scheduler"};
  return shared->submit(*this, work, schedule);
}

Status Task::wait(std::chrono::milliseconds timeout) {
  if (Status status = check_timeout(timeout); !status.ok()) return status;
  Scheduler* const last = scheduler_.load();
  if (!last) return {Code::BadArgument, "task", "it was not submitted"};
  if (!is_lost()) return last->wait(*this, timeout);
  if (state_ == State::Done) return status_;
  return {Code::Cancelled, "task", "it was submitted before the process forked, and never ends in the child"};
}

void Task::cancel() {
  Scheduler* const last = scheduler_.load();
  if (last && !is_lost()) last->cancel(*this);
}

Status Task::on_done(void (*call)(void*, const Status&), void* context) {
  Scheduler* const last = scheduler_.load();
  if (last && !is_lost()) return last->set_call(*this, call, context);
  call_ = call;
  call_context_ = context;
  return {};
}

}  // namespace openbpu::engine

#endif
