// The pool under nesting, concurrency, odd counts and fork.
#include "engine/thread_pool.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace openbpu::engine {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
constexpr int kRepeats = 300;
#else
constexpr bool kThreadSanitizer = false;
constexpr int kRepeats = 3000;
#endif

// Counts how often each unit is computed, and whether two calls share a slot at one time.
struct Tally {
  explicit Tally(std::int32_t units) : counts(static_cast<std::size_t>(units)) {}

  static void work(void* context, std::int32_t begin, std::int32_t end, int slot) {
    auto& self = *static_cast<Tally*>(context);
    const auto index = static_cast<std::size_t>(slot);
    if (self.in_slot[index].fetch_add(1) != 0) self.clashes.fetch_add(1);
    for (std::int32_t unit = begin; unit < end; ++unit) ++self.counts[static_cast<std::size_t>(unit)];
    if (self.nested) {
      Tally inner(7);
      parallel_run({work, &inner, 7}, 4);
      if (!inner.each_once()) self.clashes.fetch_add(1);
    }
    self.in_slot[index].fetch_sub(1);
  }

  bool each_once() const {
    for (int count : counts)
      if (count != 1) return false;
    return clashes.load() == 0;
  }

  std::vector<int> counts;  // plain: a race between units would be seen by the thread sanitizer
  std::atomic<int> in_slot[kMaxThreads] = {};
  std::atomic<int> clashes{0};
  bool nested = false;
};

bool run_once(std::int32_t units, int threads, bool nested = false) {
  Tally tally(units);
  tally.nested = nested;
  parallel_run({Tally::work, &tally, units}, threads);
  return tally.each_once();
}

TEST(ThreadPool, EveryUnitOnceForAnyCount) {
  for (int threads : {1, 2, 3, 4, 7, kMaxThreads, 1000})
    for (std::int32_t units : {1, 2, 3, 5, 16, 1000}) EXPECT_TRUE(run_once(units, threads)) << threads << " " << units;
}

TEST(ThreadPool, ManyShortRegions) {
  const ThreadDemand demand(4);
  for (int repeat = 0; repeat < kRepeats; ++repeat) ASSERT_TRUE(run_once(1 + repeat % 50, 1 + repeat % 4)) << repeat;
}

TEST(ThreadPool, WorkersSleepAndWake) {
  const ThreadDemand demand(2);
  for (int repeat = 0; repeat < 100; ++repeat) {
    usleep(repeat % 2 == 0 ? 200 : 60);  // beyond, and about, the time for which workers watch
    ASSERT_TRUE(run_once(20, 2));
  }
}

TEST(ThreadPool, NestedCallsRunAlone) {
  for (int repeat = 0; repeat < 50; ++repeat) ASSERT_TRUE(run_once(13, 3, true));
}

TEST(ThreadPool, ManyCallersAtOnce) {
  std::atomic<int> failures{0}, arrived{0};
  std::vector<std::thread> callers;
  for (int k = 0; k < 6; ++k)
    callers.emplace_back([k, &failures, &arrived] {
      const ThreadDemand demand(1 + k % 3);
      arrived.fetch_add(1);
      while (arrived.load() < 6) std::this_thread::yield();
      for (int repeat = 0; repeat < kRepeats; ++repeat)
        if (!run_once(1 + repeat % 40, 1 + (k + repeat) % 4, repeat % 16 == 0)) failures.fetch_add(1);
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failures.load(), 0);
}

TEST(ThreadPool, WorkersDoTakePart) {
  const ThreadDemand demand(2);
  if (available_processors() < 2) GTEST_SKIP() << "one processor";
  struct Seen {
    std::atomic<int> mask{0};
    static void work(void* context, std::int32_t, std::int32_t, int slot) {
      static_cast<Seen*>(context)->mask.fetch_or(1 << slot);
      usleep(1000);
    }
  } seen;
  for (int repeat = 0; repeat < 100 && seen.mask.load() != 3; ++repeat) parallel_run({Seen::work, &seen, 8}, 2);
  EXPECT_EQ(seen.mask.load(), 3);
}

TEST(ThreadPool, WorksAfterFork) {
  if (kThreadSanitizer) GTEST_SKIP() << "the thread sanitizer does not follow a fork of a process with threads";
  ASSERT_TRUE(run_once(100, 4));
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(run_once(100, 4) && run_once(100, 4, true) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(run_once(100, 4));
}

TEST(ThreadPool, ForkWhileOthersRun) {
  if (kThreadSanitizer) GTEST_SKIP() << "the thread sanitizer does not follow a fork of a process with threads";
  std::atomic<bool> stop{false};
  std::vector<std::thread> callers;
  for (int k = 0; k < 2; ++k)
    callers.emplace_back([&stop] {
      while (!stop.load()) run_once(30, 3);
    });
  for (int repeat = 0; repeat < 20; ++repeat) {
    const pid_t child = fork();
    if (child == 0) {
      // Only async-signal-safe things and the pool itself: another thread may have held the allocator's lock.
      alarm(20);
      std::atomic<int> units{0};
      parallel_run({[](void* context, std::int32_t begin, std::int32_t end, int) {
                      static_cast<std::atomic<int>*>(context)->fetch_add(end - begin);
                    },
                    &units, 64},
                   2);
      _exit(units.load() == 64 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  stop.store(true);
  for (std::thread& caller : callers) caller.join();
}

TEST(ThreadPool, ProcessorsFollowTheAffinity) {
  const int all = available_processors();
  EXPECT_GE(all, 1);
  EXPECT_LE(all, kMaxThreads);
#if defined(__linux__) && !defined(OPENBPU_NO_THREADS)
  int restricted = 0;
  std::thread([&restricted] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    int kept = 0;
    while (!CPU_ISSET(kept, &set)) ++kept;
    CPU_ZERO(&set);
    CPU_SET(kept, &set);
    sched_setaffinity(0, sizeof set, &set);
    restricted = available_processors();
  }).join();
  EXPECT_EQ(restricted, 1);
#endif
}

}  // namespace
}  // namespace openbpu::engine
