// The process-wide pool of worker threads.
#pragma once

#include <cstdint>

namespace openbpu::engine {

// Work cut into units; fn(context, begin, end, worker) computes units [begin, end). worker is 0 .. threads - 1 and
// names the scratch memory to use.
struct ParallelJob {
  void (*fn)(void* context, std::int32_t begin, std::int32_t end, int worker);
  void* context;
  std::int32_t units;
};

// Runs the job on the calling thread and up to threads - 1 workers and returns when all units are done. Allocates only
// when it starts workers that have never run before. If the workers are busy with another caller's job, or this is a
// call from inside a job, the caller does all of the work alone. After fork the child starts workers of its own.
void parallel_run(const ParallelJob& job, int threads);

// Starts the workers that a later parallel_run(..., threads) will want.
void parallel_prepare(int threads);

// Processors that the process may use (its affinity), at least 1.
int available_processors();

}  // namespace openbpu::engine
