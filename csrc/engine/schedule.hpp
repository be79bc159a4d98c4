// What the scheduler asks of a task before it takes it.
#pragma once

#include "engine/scheduler.hpp"

namespace openbpu::engine {

// Fails with Code::BadArgument for what is out of range.
Status check(const Work& work, const Schedule& schedule);
Status check_timeout(std::chrono::milliseconds timeout);

}  // namespace openbpu::engine
