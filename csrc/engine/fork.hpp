// Which process of a line of forks this is.
#pragma once

#include <cstdint>

namespace openbpu::engine {

// Differs between a process and its children: what a thread was doing in the parent when it forked never ends in the
// child, and whoever waits for it there can see so. Counts from the first call on.
std::uint32_t fork_epoch();

}  // namespace openbpu::engine
