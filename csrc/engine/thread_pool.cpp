#include "engine/thread_pool.hpp"

#include <algorithm>

#if defined(OPENBPU_NO_THREADS)

namespace openbpu::engine {

void parallel_run(const ParallelJob& job, int) { job.fn(job.context, 0, job.units, 0); }
ThreadDemand::ThreadDemand(int) : workers_(0) {}
ThreadDemand::~ThreadDemand() = default;
int available_processors() { return 1; }

}  // namespace openbpu::engine

#else

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

#include "engine/thread.hpp"

namespace openbpu::engine {
namespace {

using Clock = std::chrono::steady_clock;

// How long an idle worker watches for work before it sleeps: longer than the gaps between the steps of a network,
// short enough not to be noticed after a run.
constexpr std::chrono::microseconds kWatch{50};

// A worker leaves its caller's processor at most this often.
constexpr std::chrono::milliseconds kMoves{1};

// Chunks per thread: small enough that a late thread costs little, large enough that a kernel's setup is amortised.
constexpr int kChunks = 4;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

#if defined(__linux__)
int current_processor() { return sched_getcpu(); }

// Moves the calling thread to another of its processors, if it has one.
void leave_processor(int processor) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<std::size_t>(processor), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
int current_processor() { return -1; }
void leave_processor(int) {}
#endif

thread_local bool inside_job = false;

// One call of parallel_run, on the caller's stack. A worker touches it only between taking it and `finished`.
class Region {
 public:
  Region(const ParallelJob& job, int threads)
      : job_(job), threads_(threads), chunk_(std::max(1, job.units / (threads * kChunks))) {
    for (int k = 0; k < threads; ++k) ranges_[k].span.store(span(share(k), share(k + 1)), std::memory_order_relaxed);
  }

  // Computes units until none is left: first those of `slot`, then the others'.
  void work(int slot) {
    for (int k = 0; k < threads_; ++k) drain(ranges_[(slot + k) % threads_], slot);
  }

  std::atomic<int> finished{0};  // workers that took the region and are done with it

 private:
  struct alignas(64) Range {
    std::atomic<std::uint64_t> span;  // first unit << 32 | end
  };

  static std::uint64_t span(std::int32_t begin, std::int32_t end) {
    return std::uint64_t{static_cast<std::uint32_t>(begin)} << 32 | static_cast<std::uint32_t>(end);
  }

  std::int32_t share(int k) const { return static_cast<std::int32_t>(std::int64_t{job_.units} * k / threads_); }

  void drain(Range& range, int slot) {
    std::uint64_t seen = range.span.load(std::memory_order_relaxed);
    while (true) {
      const auto begin = static_cast<std::int32_t>(seen >> 32), end = static_cast<std::int32_t>(seen & 0xFFFFFFFF);
      if (begin >= end) return;
      const std::int32_t next = end - begin > chunk_ ? begin + chunk_ : end;
      if (!range.span.compare_exchange_weak(seen, span(next, end), std::memory_order_relaxed)) continue;
      job_.fn(job_.context, begin, next, slot);
      seen = range.span.load(std::memory_order_relaxed);
    }
  }

  const ParallelJob job_;
  const int threads_;
  const std::int32_t chunk_;
  Range ranges_[kMaxThreads];
};

// A thread with a mailbox. Callers claim an idle worker, write the invitation and may withdraw it until it is taken.
class alignas(64) Worker {
 public:
  // False if the system gives no thread.
  bool start() { return start_detached(enter, this, "openbpu"); }

  // False if another caller has the worker. `processor` is the caller's.
  bool invite(Region& region, int slot, int processor) {
    if (claimed_.load(std::memory_order_relaxed) || claimed_.exchange(true, std::memory_order_acquire)) return false;
    slot_ = slot;
    host_.store(processor, std::memory_order_relaxed);
    invitation_.store(&region);
    if (sleeping_.load()) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }  // it is inside wait() now, or has seen the invitation
      wake_.notify_one();
    }
    return true;
  }

  // True if the worker has not taken the invitation, and never will.
  bool withdraw(Region& region) {
    Region* expected = &region;
    if (!invitation_.compare_exchange_strong(expected, nullptr)) return false;
    claimed_.store(false, std::memory_order_release);
    return true;
  }

 private:
  static void* enter(void* self) {
    static_cast<Worker*>(self)->loop();
    return nullptr;
  }

  [[noreturn]] void loop() {
    inside_job = true;
    while (true) {
      wait();
      if (is_crowded()) move_away();
      Region* region = invitation_.exchange(nullptr);
      if (!region) continue;
      region->work(slot_);
      claimed_.store(false, std::memory_order_release);
      region->finished.fetch_add(1, std::memory_order_release);
    }
  }

  // Schedulers like to wake a thread where its waker runs, and then leave it there. Two threads on one processor get
  // nothing done in parallel, and the watch of one keeps the other from going on.
  bool is_crowded() const {
    const int host = host_.load(std::memory_order_relaxed);
    return host >= 0 && host == current_processor();
  }

  // Before the invitation is taken: on a busy machine it may take long until the worker goes on.
  void move_away() {
    const auto now = Clock::now();
    if (now - moved_ < kMoves) return;
    moved_ = now;
    leave_processor(host_.load(std::memory_order_relaxed));
  }

  // Returns when there is an invitation; it may be withdrawn again at any time.
  void wait() {
    const auto invited = [this] { return invitation_.load(std::memory_order_acquire) != nullptr; };
    const auto give_up = Clock::now() + kWatch;
    while (!is_crowded() && Clock::now() < give_up) {
      for (int spin = 0; spin < 32; ++spin) {
        if (invited()) return;
        pause();
      }
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.store(true);
    wake_.wait(lock, [this] { return invitation_.load() != nullptr; });
    sleeping_.store(false);
  }

  std::atomic<Region*> invitation_{nullptr};
  std::atomic<bool> claimed_{false};
  std::atomic<bool> sleeping_{false};
  int slot_ = 0;               // of the invitation; belongs to whoever holds the claim
  std::atomic<int> host_{-1};  // processor of the caller that invited last
  Clock::time_point moved_{};
  std::mutex mutex_;
  std::condition_variable wake_;
};

class Pool {
 public:
  int size() const { return size_.load(std::memory_order_acquire); }

  // Starts workers until there are `wanted`, as far as the system allows.
  void grow(int wanted) {
    std::lock_guard<std::mutex> lock(growing_);
    while (size() < std::min(wanted, limit_)) {
      auto* worker = new (std::nothrow) Worker;
      if (!worker || !worker->start()) {
        delete worker;
        limit_ = size();
        return;
      }
      workers_[size()] = worker;
      size_.store(size() + 1, std::memory_order_release);
    }
  }

  void run(const ParallelJob& job, int threads) {
    Region region(job, threads);
    Worker* invited[kMaxThreads];
    int guests = 0;
    const int processor = current_processor();
    for (int k = 0, all = size(); k < all && guests < threads - 1; ++k)
      if (workers_[k]->invite(region, guests + 1, processor)) invited[guests++] = workers_[k];
    region.work(0);
    int taken = guests;
    for (int k = 0; k < guests; ++k)
      if (invited[k]->withdraw(region)) --taken;
    for (int spin = 0; region.finished.load(std::memory_order_acquire) < taken; ++spin) {
      if (spin % 64 != 63)
        pause();
      else
        sched_yield();  // the worker may have lost its processor
    }
  }

 private:
  Worker* workers_[kMaxThreads - 1] = {};
  std::atomic<int> size_{0};
  std::mutex growing_;
  int limit_ = kMaxThreads - 1;
};

std::atomic<Pool*> current{nullptr};
std::atomic<bool> watches_forks{false};
std::atomic<int> demand{0};  // workers that all callers together would use

std::atomic<Pool*> of_parent{nullptr};  // out of use, but not leaked

// The workers of the parent do not exist in the child, and its locks may be held for ever: forget them.
void forget_after_fork() {
  of_parent.store(current.exchange(nullptr));
  inside_job = false;
}

// Null if there is no memory. The pool is never destroyed: threads may still run engines while the process exits.
Pool* pool() {
  if (Pool* existing = current.load(std::memory_order_acquire)) return existing;
  if (!watches_forks.exchange(true)) pthread_atfork(nullptr, nullptr, forget_after_fork);
  Pool* none = nullptr;
  auto* created = new (std::nothrow) Pool;
  if (current.compare_exchange_strong(none, created)) return created;
  delete created;
  return none;
}

// Workers worth having when one caller wants `threads` threads.
int wanted_workers(int threads) {
  const int most = std::max(threads, available_processors());
  return std::max(threads - 1, std::min(demand.load(std::memory_order_relaxed), most - 1));
}

}  // namespace

void parallel_run(const ParallelJob& job, int threads) {
  threads = std::min({threads, static_cast<int>(job.units), kMaxThreads});
  Pool* shared = threads > 1 && !inside_job ? pool() : nullptr;
  if (!shared) return job.fn(job.context, 0, job.units, 0);
  if (shared->size() < threads - 1) shared->grow(wanted_workers(threads));
  inside_job = true;
  shared->run(job, threads);
  inside_job = false;
}

ThreadDemand::ThreadDemand(int threads) : workers_(std::min(threads, kMaxThreads) - 1) {
  if (workers_ <= 0) return;
  demand.fetch_add(workers_);
  if (Pool* shared = pool()) shared->grow(wanted_workers(workers_ + 1));
}

ThreadDemand::~ThreadDemand() {
  if (workers_ > 0) demand.fetch_sub(workers_);
}

int available_processors() {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
  return static_cast<int>(std::clamp<long>(count, 1, kMaxThreads));
}

}  // namespace openbpu::engine

#endif
