// Threads that live as long as the process.
#pragma once

#if !defined(OPENBPU_NO_THREADS)

#include <pthread.h>
#include <signal.h>

namespace openbpu::engine {

// Starts a detached thread that takes no signals of the process; false if the system gives none. `name`: up to 15
// characters.
inline bool start_detached(void* (*enter)(void*), void* argument, const char* name) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, nullptr, enter, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started) return false;
#if defined(__linux__)
  pthread_setname_np(thread, name);
#else
  (void)name;
#endif
  pthread_detach(thread);
  return true;
}

}  // namespace openbpu::engine

#endif
