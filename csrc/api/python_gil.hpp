// Work beside Python.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace openbpu {

// Takes back the lock of the interpreter. One that is ending gives it to no other thread any more: before Python 3.14
// it ends such a thread by unwinding, which the frames of an extension do not survive. The thread rests here instead,
// as since 3.14, until the process is gone.
inline void take_gil_back(PyThreadState* thread) {
  try {
    PyEval_RestoreThread(thread);
  } catch (...) {
    while (true) pause();  // to leave the handler would end the process
  }
}

// Calls `work` while other Python threads run.
template <class Work>
auto without_gil(Work work) -> decltype(work()) {
  PyThreadState* const thread = PyEval_SaveThread();
  auto result = [&] {
    try {
      return work();
    } catch (...) {
      take_gil_back(thread);
      throw;
    }
  }();
  take_gil_back(thread);
  return result;
}

}  // namespace openbpu
