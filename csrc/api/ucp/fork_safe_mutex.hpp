// A mutex of the process that is free in the child after fork.
#pragma once

#include <mutex>

#if defined(__unix__)
#include <pthread.h>
#endif

namespace openbpu::ucp {

// One per tag; never destroyed, so that calls work while the process exits.
template <class Tag>
std::mutex& fork_safe_mutex() {
  static std::mutex& mutex = *[] {
    static auto* created = new std::mutex;
#if defined(__unix__)
    pthread_atfork([] { created->lock(); }, [] { created->unlock(); }, [] { created->unlock(); });
#endif
    return created;
  }();
  return mutex;
}

}  // namespace openbpu::ucp
