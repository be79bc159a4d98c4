// Tasks: order, preemption, time-outs, cancellation, call-backs, fork and exit.
#include "engine/scheduler.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace openbpu::engine {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kCore0 = 1;

// Work that runs, passing boundaries, until it is told to end.
struct Loop {
  std::atomic<bool> started{false}, end{false};
  Work work() { return {run, this}; }
  static Status run(void* self, Execution& execution) {
    Loop& loop = *static_cast<Loop*>(self);
    loop.started = true;
    while (!loop.end) {
      if (Status status = execution.boundary(); !status.ok()) return status;
      std::this_thread::sleep_for(100us);
    }
    return {};
  }
  void await_start() {
    while (!started) std::this_thread::sleep_for(100us);
  }
};

// Work that writes its name down.
struct Log {
  std::mutex mutex;
  std::string text;
  void add(char name) {
    std::lock_guard<std::mutex> lock(mutex);
    text += name;
  }
};
struct Note {
  Log* log;
  char name;
  Work work() { return {run, this}; }
  static Status run(void* self, Execution&) {
    const Note& note = *static_cast<Note*>(self);
    note.log->add(note.name);
    return {};
  }
};

#if defined(OPENBPU_NO_THREADS)

TEST(Scheduler, WithoutThreadsSubmitRuns) {
  Log log;
  Note note{&log, 'a'};
  Task task;
  EXPECT_EQ(task.wait().code(), Code::BadArgument);
  ASSERT_TRUE(task.submit(note.work()).ok());
  EXPECT_EQ(log.text, "a");
  EXPECT_TRUE(task.done());
  EXPECT_TRUE(task.wait(1ms).ok());
  Loop loop;
  ASSERT_TRUE(task.submit(loop.work(), {0, 0, kAnyCore, 5ms}).ok());
  EXPECT_EQ(task.wait().code(), Code::Timeout);
}

#else

TEST(Scheduler, PriorityThenIdThenOrderOfArrival) {
  Log log;
  Loop loop;
  Task first, tasks[6];
  ASSERT_TRUE(first.submit(loop.work(), {0, 0, kCore0}).ok());
  loop.await_start();
  Note notes[6] = {{&log, 'a'}, {&log, 'b'}, {&log, 'c'}, {&log, 'd'}, {&log, 'e'}, {&log, 'f'}};
  const Schedule schedules[6] = {{0, 5, kCore0},   {0, 5, kCore0},  {0, -1, kCore0},
                                 {253, 9, kCore0}, {10, 0, kCore0}, {253, 2, kCore0}};
  for (int k = 0; k < 6; ++k) ASSERT_TRUE(tasks[k].submit(notes[k].work(), schedules[k]).ok());
  EXPECT_EQ(tasks[3].wait(20ms).code(), Code::Timeout) << "253 does not preempt";
  EXPECT_EQ(log.text, "");
  loop.end = true;
  for (Task& task : tasks) EXPECT_TRUE(task.wait().ok());
  EXPECT_EQ(log.text, "fdecab");
  EXPECT_TRUE(first.wait().ok());
}

TEST(Scheduler, TwoLevelsPreempt) {
  Log log;
  Loop low, high;
  Note urgent{&log, 'u'};
  Task a, b, c;
  ASSERT_TRUE(a.submit(low.work(), {253, 0, kCore0}).ok());
  low.await_start();
  ASSERT_TRUE(b.submit(high.work(), {254, 0, kCore0}).ok());
  high.await_start();
  ASSERT_TRUE(c.submit(urgent.work(), {255, 0, kCore0}).ok());
  EXPECT_TRUE(c.wait().ok());
  EXPECT_FALSE(a.done());
  EXPECT_FALSE(b.done());
  low.end = true;
  EXPECT_EQ(a.wait(20ms).code(), Code::Timeout) << "it goes on only after the task that stopped it";
  high.end = true;
  EXPECT_TRUE(b.wait().ok());
  EXPECT_TRUE(a.wait().ok());
}

TEST(Scheduler, EqualLevelsDoNotPreempt) {
  Loop first, second;
  Task a, b;
  ASSERT_TRUE(a.submit(first.work(), {255, 0, kCore0}).ok());
  first.await_start();
  ASSERT_TRUE(b.submit(second.work(), {255, 0, kCore0}).ok());
  EXPECT_EQ(b.wait(20ms).code(), Code::Timeout);
  EXPECT_FALSE(second.started);
  first.end = second.end = true;
  EXPECT_TRUE(b.wait().ok());
}

TEST(Scheduler, TimeOuts) {
  Loop loop;
  Log log;
  Note note{&log, 'n'};
  Task running, queued;
  EXPECT_EQ(running.wait().code(), Code::BadArgument) << "never submitted";
  ASSERT_TRUE(running.submit(loop.work(), {0, 0, kCore0, 100ms}).ok());
  loop.await_start();
  ASSERT_TRUE(queued.submit(note.work(), {0, 0, kCore0, 10ms}).ok());
  EXPECT_EQ(queued.wait().code(), Code::Timeout);
  EXPECT_TRUE(queued.done()) << "the task itself ended";
  EXPECT_EQ(running.wait(1ms).code(), Code::Timeout);
  EXPECT_FALSE(running.done()) << "only the wait ended";
  EXPECT_EQ(running.wait().code(), Code::Timeout);
  EXPECT_TRUE(running.done());
  EXPECT_EQ(log.text, "");
}

TEST(Scheduler, WhoQueuesIsToldOfItsTimeOutUnasked) {
  Loop loop;
  Log log;
  Note note{&log, 'n'};
  Task running, queued, later;
  std::atomic<int> calls{0};
  ASSERT_TRUE(running.submit(loop.work(), {0, 0, kCore0}).ok());
  loop.await_start();
  const auto count = [](void* context, const Status& status) {
    if (status.code() == Code::Timeout) ++*static_cast<std::atomic<int>*>(context);
  };
  ASSERT_TRUE(queued.on_done(count, &calls).ok());
  ASSERT_TRUE(later.submit(note.work(), {0, 0, kCore0, 1h}).ok());
  ASSERT_TRUE(queued.submit(note.work(), {0, 0, kCore0, 10ms}).ok());
  for (int k = 0; k < 2000 && !queued.done(); ++k) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(queued.done()) << "nobody waits for it";
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(later.done());
  loop.end = true;
  EXPECT_EQ(queued.wait().code(), Code::Timeout);
  EXPECT_TRUE(later.wait().ok());
  EXPECT_EQ(log.text, "n");
}

// The core that was told of the first task finds the second, which only it may run, before it.
TEST(Scheduler, NoTaskWaitsWhileACoreSleeps) {
  if (core_count() < 2) GTEST_SKIP() << "one core";
  Log log;
  Note note{&log, 'n'};
  for (int repeat = 0; repeat < 20; ++repeat) {
    Loop loop;
    Task any, first;
    std::this_thread::sleep_for(1ms);  // all cores sleep
    ASSERT_TRUE(any.submit(note.work()).ok());
    ASSERT_TRUE(first.submit(loop.work(), {10, 0, kCore0}).ok());
    EXPECT_TRUE(any.wait(5s).ok());
    loop.end = true;
    EXPECT_TRUE(first.wait().ok());
  }
}

TEST(Scheduler, EveryUrgentTaskStopsACoreOfItsOwn) {
  if (core_count() < 2) GTEST_SKIP() << "one core";
  Loop low[kMaxCores], urgent[kMaxCores];
  Task below[kMaxCores], above[kMaxCores];
  for (int k = 0; k < core_count(); ++k) ASSERT_TRUE(below[k].submit(low[k].work()).ok());
  for (int k = 0; k < core_count(); ++k) low[k].await_start();
  for (int k = 0; k < core_count(); ++k) ASSERT_TRUE(above[k].submit(urgent[k].work(), {254}).ok());
  for (int k = 0; k < core_count(); ++k) {
    for (int wait = 0; wait < 5000 && !urgent[k].started; ++wait) std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(urgent[k].started) << "while a core runs a lower one";
  }
  for (int k = 0; k < core_count(); ++k) urgent[k].end = low[k].end = true;
  for (int k = 0; k < core_count(); ++k) EXPECT_TRUE(above[k].wait().ok() && below[k].wait().ok());
}

TEST(Scheduler, CancelsQueuedAndRunning) {
  Loop loop, below;
  Log log;
  Note note{&log, 'n'};
  Task running, queued, stopped;
  ASSERT_TRUE(stopped.submit(below.work(), {0, 0, kCore0}).ok());
  below.await_start();
  ASSERT_TRUE(running.submit(loop.work(), {254, 0, kCore0}).ok());
  loop.await_start();
  ASSERT_TRUE(queued.submit(note.work(), {0, 0, kCore0}).ok());
  queued.cancel();
  EXPECT_EQ(queued.wait().code(), Code::Cancelled);
  stopped.cancel();  // while another runs on top of it
  EXPECT_EQ(stopped.wait(5ms).code(), Code::Timeout);
  running.cancel();
  EXPECT_EQ(running.wait().code(), Code::Cancelled);
  EXPECT_EQ(stopped.wait().code(), Code::Cancelled);
  EXPECT_EQ(log.text, "");
  ASSERT_TRUE(queued.submit(note.work()).ok()) << "a task can be submitted again";
  EXPECT_TRUE(queued.wait().ok());
  EXPECT_EQ(log.text, "n");
}

TEST(Scheduler, TheDestructorCancels) {
  Loop loop;
  {
    Task task;
    ASSERT_TRUE(task.submit(loop.work()).ok());
    loop.await_start();
  }
  SUCCEED();
}

// A call-back that waited for the task that it destroys would be on a core, where waits fail.
TEST(Scheduler, ACallBackMayDestroyAnotherTask) {
  if (core_count() < 2) GTEST_SKIP() << "one core";
  Log log;
  Loop loop, queued_loop;
  Note note{&log, 'n'};
  struct Others {
    std::unique_ptr<Task> queued = std::make_unique<Task>(), running = std::make_unique<Task>();  // in this order
  } others;
  ASSERT_TRUE(others.running->submit(loop.work(), {0, 0, kCore0 << 1}).ok());
  ASSERT_TRUE(others.queued->submit(queued_loop.work(), {0, 0, kCore0 << 1}).ok());
  loop.await_start();
  Task task;
  const auto destroy = [](void* context, const Status&) { *static_cast<Others*>(context) = {nullptr, nullptr}; };
  ASSERT_TRUE(task.on_done(destroy, &others).ok());
  ASSERT_TRUE(task.submit(note.work(), {0, 0, kCore0}).ok());
  EXPECT_TRUE(task.wait().ok());
  EXPECT_EQ(others.running, nullptr);
  EXPECT_FALSE(queued_loop.started);
}

TEST(SchedulerDeathTest, NoTaskIsDestroyedByItsOwnCallBack) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto destroy_itself = [] {
    Log log;
    Note note{&log, 'n'};
    auto* task = new Task;
    (void)task->on_done([](void* self, const Status&) { delete static_cast<Task*>(self); }, task);
    (void)task->submit(note.work());
    std::this_thread::sleep_for(20s);
  };
  EXPECT_DEATH(destroy_itself(), "must not be destroyed by its own");
}

// Who cancels a task in the queue runs its call-back, on a thread that is no core's.
TEST(Scheduler, CallBacksOfCancelledTasksDoNotWaitEither) {
  struct Call {
    Task running, queued;
    Code itself = Code::Internal, other = Code::Internal;
    bool on_a_core = false;
    static void call(void* context, const Status&) {
      Call& self = *static_cast<Call*>(context);
      self.on_a_core = on_core();
      self.itself = self.queued.wait().code();
      self.other = self.running.wait().code();
    }
  };
  Loop loop, never;
  Call call;
  ASSERT_TRUE(call.running.submit(loop.work(), {0, 0, kCore0}).ok());
  loop.await_start();
  ASSERT_TRUE(call.queued.on_done(Call::call, &call).ok());
  ASSERT_TRUE(call.queued.submit(never.work(), {0, 0, kCore0}).ok());
  call.queued.cancel();
  EXPECT_TRUE(call.on_a_core);
  EXPECT_EQ(call.itself, Code::Cancelled) << "its own status";
  EXPECT_EQ(call.other, Code::BadArgument);
  EXPECT_FALSE(on_core());
  loop.end = true;
  EXPECT_TRUE(call.running.wait().ok());
}

TEST(Scheduler, CallBacksComeBeforeWaitReturns) {
  struct Call {
    Task task, other;
    Note note;
    std::atomic<int> calls{0};
    Code code = Code::Internal, wait_self = Code::Internal, wait_other = Code::Internal, again = Code::Internal;
    static void call(void* context, const Status& status) {
      Call& self = *static_cast<Call*>(context);
      std::this_thread::sleep_for(5ms);
      self.code = status.code();
      self.wait_self = self.task.wait().code();
      self.wait_other = self.other.wait(1s).code();
      self.again = self.task.submit(self.note.work()).code();
      ++self.calls;
    }
  };
  Log log;
  Loop loop;
  Call call;
  call.note = {&log, 'n'};
  ASSERT_TRUE(call.other.submit(loop.work(), {0, 0, kCore0 << 1}).ok());
  loop.await_start();
  ASSERT_TRUE(call.task.on_done(Call::call, &call).ok());
  ASSERT_TRUE(call.task.submit(call.note.work(), {0, 0, kCore0}).ok());
  if (core_count() > 1) {
    EXPECT_TRUE(call.task.wait().ok());
    EXPECT_EQ(call.calls, 1);
    EXPECT_EQ(call.code, Code::Ok);
    EXPECT_EQ(call.wait_self, Code::Ok);
    EXPECT_EQ(call.wait_other, Code::BadArgument) << "a core must not wait";
    EXPECT_EQ(call.again, Code::BadArgument) << "not before the call-back has returned";
  }
  loop.end = true;
  EXPECT_TRUE(call.other.wait().ok());
  EXPECT_TRUE(call.task.wait().ok());
}

TEST(Scheduler, RefusesWrongSchedules) {
  Log log;
  Note note{&log, 'n'};
  Task task;
  for (const Schedule& wrong : {Schedule{-1}, Schedule{256}, Schedule{0, 0, 0}, Schedule{0, 0, 16},
                                Schedule{0, 0, std::uint64_t{1} << 40}, Schedule{0, 0, kAnyCore, -1ms}})
    EXPECT_EQ(task.submit(note.work(), wrong).code(), Code::BadArgument);
  EXPECT_EQ(task.submit({}).code(), Code::BadArgument);
  Loop loop;
  ASSERT_TRUE(task.submit(loop.work()).ok());
  EXPECT_EQ(task.wait(-1ms).code(), Code::BadArgument) << "0 means for ever, less means nothing";
  EXPECT_EQ(task.submit(loop.work()).code(), Code::BadArgument) << "under way";
  EXPECT_EQ(task.on_done(nullptr, nullptr).code(), Code::BadArgument) << "under way";
  loop.end = true;
  EXPECT_TRUE(task.wait().ok());
  for (std::uint64_t cores : {1, 2, 4, 8, 15, 128}) {
    ASSERT_TRUE(task.submit(note.work(), {0, 0, cores}).ok()) << cores;
    EXPECT_TRUE(task.wait().ok());
  }
}

TEST(Scheduler, ManyThreadsAndPriorities) {
  std::atomic<int> runs{0};
  const Work work{[](void* count, Execution& execution) {
                    for (int k = 0; k < 3; ++k)
                      if (Status status = execution.boundary(); !status.ok()) return status;
                    ++*static_cast<std::atomic<int>*>(count);
                    return Status();
                  },
                  &runs};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Task task;
      for (int k = 0; k < 200; ++k) {
        ASSERT_TRUE(task.submit(work, {(k * 37 + t * 85) % 256, t, std::uint64_t{1} << k % 4}).ok());
        ASSERT_TRUE(task.wait().ok());
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(runs, 800);
}

#if !defined(__SANITIZE_THREAD__)  // which supports no threads after fork

int exit_code_of(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Scheduler, AfterForkTasksFailOrRunAnew) {
  Loop loop;
  Task task, fresh;
  ASSERT_TRUE(task.submit(loop.work()).ok());
  loop.await_start();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    Log log;
    Note note{&log, 'n'};
    const bool lost = task.done() && task.wait().code() == Code::Cancelled;
    const bool anew = fresh.submit(note.work()).ok() && fresh.wait().ok();
    const bool again = task.submit(note.work()).ok() && task.wait().ok();
    _exit(lost && anew && again ? 0 : 1);
  }
  EXPECT_EQ(exit_code_of(child), 0);
  EXPECT_FALSE(task.done());
  loop.end = true;
  EXPECT_TRUE(task.wait().ok());
}

TEST(Scheduler, TheProcessExitsWhileTasksRun) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    static Loop loop, behind;
    static auto& running = *new Task;
    static auto& queued = *new Task;
    (void)running.submit(loop.work(), {0, 0, kCore0});
    (void)queued.submit(behind.work(), {0, 0, kCore0});
    loop.await_start();
    std::exit(7);
  }
  EXPECT_EQ(exit_code_of(child), 7);
}

#endif
#endif

}  // namespace
}  // namespace openbpu::engine
