// Tasks behind checked handles.
#include <sys/types.h>
#include <unistd.h>

#include <vector>

#include "api/ucp/fork_safe_mutex.hpp"
#include "api/ucp/handles.hpp"
#include "api/ucp/ucp.hpp"

namespace openbpu::ucp {
namespace {

struct TasksTag;
using Lock = std::unique_lock<std::mutex>;
std::mutex& mutex() { return fork_safe_mutex<TasksTag>(); }

struct Slot {
  Slot() { operations.reserve(kMaxSubTasks); }

  runtime::Task task;
  std::vector<Operation> operations;
  hbUCPTaskHandle_t handle = nullptr;
  hbUCPTaskDoneCb callback = nullptr;
  void* userdata = nullptr;
  std::int32_t result = HB_UCP_SUCCESS;
  bool submitted = false;
  bool ended = false;     // the operations are finished; the call-back may still run
  bool released = false;  // by the application
  pid_t process = 0;      // that submitted it
  int users = 0;          // calls that look at it without the lock
};

Handles<Slot>& handles() {
  static auto& all = *new Handles<Slot>(HandleKind::Task, kMaxTasks);
  return all;
}

// Ended, or submitted by the parent of this process, where it ends without us.
bool is_over(const Slot& slot) { return slot.submitted && (slot.ended || slot.process != getpid()); }

void finish_operations(Slot& slot) {
  for (const Operation& operation : slot.operations) operation.finish(operation.context);
}

// Gives the slot back; its operations go without the lock.
void recycle(Lock& lock, Slot& slot) {
  lock.unlock();
  if (!slot.ended) finish_operations(slot);
  for (const Operation& operation : slot.operations) operation.release(operation.context);
  lock.lock();
  slot.operations.clear();
  handles().release(slot.handle);
}

// Keeps a slot from being given back while a call looks at it without the lock.
class Use {
 public:
  Use(Lock& lock, Slot& slot) : lock_(lock), slot_(slot) {
    ++slot.users;
    lock_.unlock();
  }
  ~Use() {
    lock_.lock();
    if (--slot_.users == 0 && slot_.released) recycle(lock_, slot_);
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  Lock& lock_;
  Slot& slot_;
};

runtime::Status run(void* context, runtime::Execution& execution) {
  Slot& slot = *static_cast<Slot*>(context);
  for (const Operation& operation : slot.operations) {
    slot.result = operation.run(operation.context, execution);
    if (slot.result != HB_UCP_SUCCESS) break;
  }
  return {};
}

void end(void* context, const runtime::Status& status) {
  Slot& slot = *static_cast<Slot*>(context);
  if (!status.ok()) slot.result = status_of(status);
  finish_operations(slot);
  Lock lock(mutex());
  slot.ended = true;
  const Use use(lock, slot);
  if (slot.callback) slot.callback(slot.handle, slot.result, slot.userdata);
}

Slot* take(hbUCPTaskHandle_t& handle) {
  Slot* slot = handles().take(handle, [](const Slot& candidate) { return candidate.task.done(); });
  if (!slot) return nullptr;
  slot->handle = handle;
  slot->callback = nullptr;
  slot->userdata = nullptr;
  slot->result = HB_UCP_SUCCESS;
  slot->submitted = slot->ended = slot->released = false;
  return slot;
}

std::int32_t unknown_task(const char* function) {
  return fail(HB_UCP_TASK_HANDLE_INVALID, function, "the task does not exist, or is already released");
}

std::int32_t already_submitted(const char* function) {
  return fail(HB_UCP_API_USE_ERROR, function, "the task was already submitted");
}

// Fails with a message; 0 where the parameters are good.
std::int32_t read_schedule(const hbUCPSchedParam* param, runtime::Schedule& schedule) {
  constexpr const char* kFunction = "hbUCPSubmitTask";
  constexpr std::uint64_t kCores = HB_UCP_BPU_CORE_0 | HB_UCP_BPU_CORE_1 | HB_UCP_BPU_CORE_2 | HB_UCP_BPU_CORE_3;
  if (!param) return fail(HB_UCP_INVALID_ARGUMENT, kFunction, "the parameters are null");
  if (param->priority < HB_UCP_PRIORITY_LOWEST || param->priority > HB_UCP_PRIORITY_HIGHEST)
    return fail(HB_UCP_INVALID_ARGUMENT, kFunction,
                "priority must be 0 to 255; got " + std::to_string(param->priority));
  if ((param->backend & ~(kCores | HB_UCP_BPU_CORE_ANY)) != 0)
    return fail(HB_UCP_INVALID_ARGUMENT, kFunction,
                "backend names no core of the BPU; got " + std::to_string(param->backend));
  if (param->deviceId != 0) return fail(HB_UCP_INVALID_ARGUMENT, kFunction, "there is only device 0");
  schedule.priority = param->priority;
  schedule.custom_id = param->customId;
  schedule.cores = param->backend == HB_UCP_CORE_ANY ? runtime::kAnyCore : param->backend;
  return HB_UCP_SUCCESS;
}

}  // namespace

std::int32_t append(hbUCPTaskHandle_t& task, const Operation& operation) {
  constexpr const char* kFunction = "hbDNNInferV2";
  Lock lock(mutex());
  const bool is_new = task == nullptr;
  Slot* slot = is_new ? take(task) : handles().find(task);
  if (!slot && is_new)
    return fail(HB_UCP_TASK_NUMBER_EXCEED_LIMIT, kFunction, std::to_string(kMaxTasks) + " tasks are not released");
  if (!slot || slot->released) return unknown_task(kFunction);
  if (slot->submitted) return already_submitted(kFunction);
  if (slot->operations.size() == kMaxSubTasks)
    return fail(HB_UCP_OP_NUMBER_EXCEED, kFunction, "at most " + std::to_string(kMaxSubTasks) + " sub-tasks");
  slot->operations.push_back(operation);
  return HB_UCP_SUCCESS;
}

std::int32_t look_at(hbUCPTaskHandle_t task, std::int32_t index, std::int32_t (*look)(void*, void*), void* argument) {
  constexpr const char* kFunction = "hbDNNGetTaskOutputTensorProperties";
  Lock lock(mutex());
  Slot* slot = handles().find(task);
  if (!slot || slot->released) return unknown_task(kFunction);
  if (!is_over(*slot)) return fail(HB_UCP_API_USE_ERROR, kFunction, "the task has not ended");
  if (index < 0 || static_cast<std::size_t>(index) >= slot->operations.size())
    return fail(HB_UCP_INVALID_ARGUMENT, kFunction, "there is no sub-task " + std::to_string(index));
  return look(slot->operations[static_cast<std::size_t>(index)].context, argument);
}

}  // namespace openbpu::ucp

using namespace openbpu::ucp;

int32_t hbUCPSubmitTask(hbUCPTaskHandle_t taskHandle, hbUCPSchedParam* schedParam) {
  constexpr const char* kFunction = "hbUCPSubmitTask";
  return call(kFunction, [&]() -> std::int32_t {
    openbpu::runtime::Schedule schedule;
    Lock lock(mutex());
    Slot* slot = handles().find(taskHandle);
    if (!slot || slot->released) return unknown_task(kFunction);
    if (const std::int32_t wrong = read_schedule(schedParam, schedule)) return wrong;
    if (slot->submitted) return already_submitted(kFunction);
    slot->submitted = true;
    slot->process = getpid();
    const Use use(lock, *slot);  // the task may run and be released before submit() returns
    openbpu::runtime::Status status = slot->task.on_done(end, slot);
    if (status.ok()) status = slot->task.submit({run, slot}, schedule);
    if (status.ok()) return HB_UCP_SUCCESS;
    lock.lock();
    slot->submitted = false;
    lock.unlock();
    const bool no_thread = status.code() == openbpu::runtime::ErrorCode::NoMemory;
    return fail(no_thread ? std::int32_t{HB_UCP_INIT_FAILED} : status_of(status), kFunction, status.message());
  });
}

int32_t hbUCPWaitTaskDone(hbUCPTaskHandle_t taskHandle, int32_t timeout) {
  constexpr const char* kFunction = "hbUCPWaitTaskDone";
  return call(kFunction, [&]() -> std::int32_t {
    Lock lock(mutex());
    Slot* slot = handles().find(taskHandle);
    if (!slot || slot->released) return unknown_task(kFunction);
    if (timeout < 0)
      return fail(HB_UCP_INVALID_ARGUMENT, kFunction,
                  "the timeout is 0 (never) or milliseconds; got " + std::to_string(timeout));
    if (!slot->submitted) return fail(HB_UCP_API_USE_ERROR, kFunction, "the task was not submitted");
    const Use use(lock, *slot);
    const openbpu::runtime::Status status = slot->task.wait(std::chrono::milliseconds(timeout));
    if (status.ok()) return slot->result;
    const std::int32_t code = status_of(status);
    return code == HB_UCP_TASK_TIMEOUT ? code : fail(code, kFunction, status.message());
  });
}

int32_t hbUCPSetTaskDoneCb(hbUCPTaskHandle_t taskHandle, hbUCPTaskDoneCb callback, void* userdata) {
  constexpr const char* kFunction = "hbUCPSetTaskDoneCb";
  return call(kFunction, [&]() -> std::int32_t {
    Lock lock(mutex());
    Slot* slot = handles().find(taskHandle);
    if (!slot || slot->released) return unknown_task(kFunction);
    if (slot->submitted) return already_submitted(kFunction);
    slot->callback = callback;
    slot->userdata = userdata;
    return HB_UCP_SUCCESS;
  });
}

int32_t hbUCPReleaseTask(hbUCPTaskHandle_t taskHandle) {
  constexpr const char* kFunction = "hbUCPReleaseTask";
  return call(kFunction, [&]() -> std::int32_t {
    Lock lock(mutex());
    Slot* slot = handles().find(taskHandle);
    if (!slot || slot->released) return unknown_task(kFunction);
    if (slot->submitted && !is_over(*slot))
      return fail(HB_UCP_API_USE_ERROR, kFunction, "the task has not ended: wait for it first");
    slot->released = true;
    if (slot->users == 0) recycle(lock, *slot);
    return HB_UCP_SUCCESS;
  });
}
