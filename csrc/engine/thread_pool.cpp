#include "engine/thread_pool.hpp"

#include <algorithm>

#if defined(OPENBPU_NO_THREADS)

namespace openbpu::engine {

void parallel_run(const ParallelJob& job, int) { job.fn(job.context, 0, job.units, 0); }
void parallel_prepare(int) {}
int available_processors() { return 1; }

}  // namespace openbpu::engine

#else

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace openbpu::engine {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kSpins = 4000;  // tens of microseconds: longer than the gap between two steps of a network

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  // Caller holds `busy`.
  void start(int workers) {
    while (static_cast<int>(workers_.size()) < std::min(workers, kMaxThreads - 1)) {
      const int index = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, index, seen = ticket_.load()] { loop(index, seen); });
    }
  }

  // Caller holds `busy`.
  void run(const ParallelJob& job, int threads) {
    threads = std::min({threads, static_cast<int>(workers_.size()) + 1, job.units});
    job_ = job;
    pending_.store(threads - 1, std::memory_order_relaxed);
    ticket_.store(((ticket_.load(std::memory_order_relaxed) >> 16) + 1) << 16 | static_cast<std::uint64_t>(threads));
    if (sleepers_.load() > 0) {
      {
        std::lock_guard<std::mutex> lock(sleep_mutex_);
      }
      wake_.notify_all();
    }
    share(job, threads, 0);
    while (pending_.load(std::memory_order_acquire) > 0) pause();
  }

  std::mutex busy;  // held by the caller whose job runs
  static thread_local bool inside_job;

 private:
  static void share(const ParallelJob& job, int threads, int worker) {
    const auto at = [&](int k) { return static_cast<std::int32_t>(std::int64_t{job.units} * k / threads); };
    if (worker < threads && at(worker) < at(worker + 1)) job.fn(job.context, at(worker), at(worker + 1), worker);
  }

  void loop(int index, std::uint64_t seen) {
    inside_job = true;
    while (true) {
      for (int spin = 0; ticket_.load(std::memory_order_acquire) == seen && spin < kSpins; ++spin) pause();
      if (ticket_.load() == seen) {
        std::unique_lock<std::mutex> lock(sleep_mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return ticket_.load() != seen; });
        sleepers_.fetch_sub(1);
      }
      seen = ticket_.load(std::memory_order_acquire);
      const int threads = static_cast<int>(seen & 0xFFFF);
      if (index >= threads) continue;  // not invited: job_ may already be the next one's
      share(job_, threads, index);
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> workers_;
  ParallelJob job_{};
  std::atomic<std::uint64_t> ticket_{0};  // number of the job, times 2^16, plus its threads
  std::atomic<int> pending_{0};
  std::atomic<int> sleepers_{0};
  std::mutex sleep_mutex_;
  std::condition_variable wake_;
};

thread_local bool Pool::inside_job = false;

std::atomic<Pool*> current{nullptr};

// The workers of the parent do not exist in the child: forget them.
void forget_after_fork() {
  current.store(nullptr);
  Pool::inside_job = false;
}

Pool& pool() {
  if (Pool* existing = current.load(std::memory_order_acquire)) return *existing;
  static std::mutex creation;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_after_fork);
  static_cast<void>(registered);
  std::lock_guard<std::mutex> lock(creation);
  // Never destroyed: other threads may still run engines while the process exits.
  if (!current.load()) current.store(new Pool);
  return *current.load();
}

}  // namespace

void parallel_run(const ParallelJob& job, int threads) {
  if (threads > 1 && job.units > 1 && !Pool::inside_job) {
    Pool& shared = pool();
    if (std::unique_lock<std::mutex> lock(shared.busy, std::try_to_lock); lock.owns_lock()) {
      shared.start(threads - 1);
      Pool::inside_job = true;
      shared.run(job, threads);
      Pool::inside_job = false;
      return;
    }
  }
  job.fn(job.context, 0, job.units, 0);
}

void parallel_prepare(int threads) {
  if (threads <= 1) return;
  Pool& shared = pool();
  std::lock_guard<std::mutex> lock(shared.busy);
  shared.start(threads - 1);
}

int available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace openbpu::engine

#endif
