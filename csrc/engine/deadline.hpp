// Time-outs as points in time.
#pragma once

#include <chrono>

namespace openbpu::engine {

using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNever = Clock::time_point::max();

// `timeout` from now; never for 0 and for what lies beyond the clock.
inline Clock::time_point deadline_after(std::chrono::milliseconds timeout) {
  if (timeout.count() <= 0) return kNever;
  const Clock::time_point now = Clock::now();
  return timeout < std::chrono::duration_cast<std::chrono::milliseconds>(kNever - now) ? now + timeout : kNever;
}

}  // namespace openbpu::engine
