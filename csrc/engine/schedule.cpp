#include "engine/schedule.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "engine/thread_pool.hpp"

namespace openbpu::engine {

Status check_timeout(std::chrono::milliseconds timeout) {
  if (timeout.count() >= 0) return {};
  return {Code::BadArgument, "timeout", "must not be negative; got " + std::to_string(timeout.count()) + " ms"};
}

Status check(const Work& work, const Schedule& schedule) {
  const std::uint64_t known = kAnyCore | ((1u << kMaxCores) - 1);
  if (!work.run) return {Code::BadArgument, "task", "needs work"};
  if (schedule.priority < 0 || schedule.priority > kHighestPriority)
    return {Code::BadArgument, "priority", "must be 0 to 255; got " + std::to_string(schedule.priority)};
  if (schedule.cores == 0 || (schedule.cores & ~known) != 0)
    return {Code::BadArgument, "cores",
            "bits 0 to 3 name cores, bit 7 stands for any; got " + std::to_string(schedule.cores)};
  return check_timeout(schedule.timeout);
}

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
