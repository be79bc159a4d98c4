// What libhbucp offers libdnn: sub-tasks of a task, memory that is in use, and how calls fail.
#pragma once

#include <cstdint>
#include <new>
#include <string>

#include "hobot/hb_ucp.h"
#include "hobot/hb_ucp_sys.h"
#include "openbpu/task.hpp"

namespace openbpu::ucp {

constexpr int kMaxTasks = 1024;
constexpr int kMaxSubTasks = 64;

// A sub-task. `finish` comes once, when the task has ended or is discarded; `release` once after it, with the task. All
// three run without the library's lock.
struct Operation {
  std::int32_t (*run)(void* context, runtime::Execution& execution);
  void (*finish)(void* context);
  void (*release)(void* context);
  void* context;
};

// Adds a sub-task to a task that was not submitted; null: to a new one, whose handle it then is. After an error the
// operation is still the caller's.
OPENBPU_API std::int32_t append(hbUCPTaskHandle_t& task, const Operation& operation);

// Calls `look` on the context of a sub-task of a task that has ended, and gives what it gives.
OPENBPU_API std::int32_t look_at(hbUCPTaskHandle_t task, std::int32_t index,
                                 std::int32_t (*look)(void* context, void* argument), void* argument);

// A live allocation; it cannot be freed until every pin is gone.
struct Allocation;
// Null if the bytes do not lie in one allocation.
OPENBPU_API Allocation* pin(const void* address, std::uint64_t size);
OPENBPU_API void unpin(Allocation* allocation);

// Writes one line to stderr (unless HB_UCP_LOG_LEVEL is 6) and gives the status.
OPENBPU_API std::int32_t fail(std::int32_t status, const char* function, const std::string& message);

OPENBPU_API std::int32_t status_of(const runtime::Status& status);

// The body of a C call: no exception leaves it.
template <class Body>
std::int32_t call(const char* function, Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return HB_UCP_MEM_ALLOC_FAILED;
  } catch (...) {
    return fail(HB_UCP_UNKNOWN, function, "unexpected exception");
  }
}

}  // namespace openbpu::ucp
