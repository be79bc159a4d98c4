// The process-wide pool of worker threads.
//
// Each parallel region runs on its calling thread and on workers that are idle at that moment; it never waits for one.
// Units are dealt out as one contiguous range per thread (so that the threads of successive steps find their rows in
// their own caches) and taken in small chunks; a thread that runs dry takes chunks of the others. A worker that wakes
// too late finds its invitation withdrawn. The caller therefore waits only for chunks that are being computed.
#pragma once

#include <cstdint>

namespace openbpu::engine {

constexpr int kMaxThreads = 128;

// Work cut into units; fn(context, begin, end, slot) computes units [begin, end). slot is 0 .. threads - 1, differs
// between calls that run at the same time, and names the scratch memory to use. fn must not throw.
struct ParallelJob {
  void (*fn)(void* context, std::int32_t begin, std::int32_t end, int slot);
  void* context;
  std::int32_t units;
};

// Runs the job on the caller and up to threads - 1 idle workers; returns when all units are done. Safe from any number
// of threads; a call from inside a job runs alone. Allocates nothing once the workers exist (ThreadDemand starts them).
// After fork the child starts workers of its own.
void parallel_run(const ParallelJob& job, int threads);

// Says for its lifetime that one caller will want `threads` threads: the pool holds enough workers for all demands
// together, but no more than the machine can run at once, and starts them here. Workers inherit the affinity of the
// thread that starts them.
class ThreadDemand {
 public:
  explicit ThreadDemand(int threads);
  ~ThreadDemand();
  ThreadDemand(const ThreadDemand&) = delete;
  ThreadDemand& operator=(const ThreadDemand&) = delete;

 private:
  int workers_;
};

// Processors that the calling thread may use (its affinity), 1 .. kMaxThreads; 1 in a build without threads.
int available_processors();

}  // namespace openbpu::engine
