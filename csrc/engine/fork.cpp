#include "engine/fork.hpp"

#include <atomic>

#if !defined(OPENBPU_NO_THREADS)
#include <pthread.h>
#endif

namespace openbpu::engine {
namespace {

std::atomic<std::uint32_t> epoch{1};
#if !defined(OPENBPU_NO_THREADS)
std::atomic<bool> watches{false};
#endif

}  // namespace

std::uint32_t fork_epoch() {
#if !defined(OPENBPU_NO_THREADS)
  if (!watches.load(std::memory_order_relaxed) && !watches.exchange(true))
    pthread_atfork(nullptr, nullptr, [] { epoch.fetch_add(1); });
#endif
  return epoch.load(std::memory_order_relaxed);
}

}  // namespace openbpu::engine
