// Tasks in a build without threads: submit() runs them.
#include "engine/scheduler.hpp"

#if defined(OPENBPU_NO_THREADS)

#include <exception>

#include "engine/deadline.hpp"
#include "engine/schedule.hpp"

namespace openbpu::engine {

namespace {

thread_local int depth = 0;  // of submit() on this thread

}  // namespace

bool on_core() { return depth > 0; }

Status Execution::boundary() {
  if (task_.cancelled_) return {Code::Cancelled, "task", "it was cancelled"};
  if (task_.deadline_ != kNever && Clock::now() > task_.deadline_)
    return {Code::Timeout, "task", "it ran longer than its time-out"};
  return {};
}

int Execution::threads(int) const { return 1; }

Task::~Task() {
  if (!done()) std::terminate();
}

bool Task::is_lost() const { return false; }

Status Task::submit(const Work& work, const Schedule& schedule) {
  if (Status status = check(work, schedule); !status.ok()) return status;
  if (!done()) return {Code::BadArgument, "task", "it is under way"};
  schedule_ = schedule;
  deadline_ = deadline_after(schedule.timeout);
  cancelled_ = false;
  state_ = State::Running;
  Execution execution(*this, nullptr);
  ++depth;
  status_ = work.run(work.context, execution);
  state_ = State::Ending;
  if (call_) call_(call_context_, status_);
  --depth;
  state_ = State::Done;
  return {};
}

Status Task::wait(std::chrono::milliseconds timeout) {
  if (Status status = check_timeout(timeout); !status.ok()) return status;
  if (state_ == State::Done || state_ == State::Ending) return status_;
  return {Code::BadArgument, "task", state_ == State::Idle ? "it was not submitted" : "it would wait for itself"};
}

void Task::cancel() { cancelled_ = true; }

Status Task::on_done(void (*call)(void*, const Status&), void* context) {
  if (!done()) return {Code::BadArgument, "task", "it is under way"};
  call_ = call;
  call_context_ = context;
  return {};
}

}  // namespace openbpu::engine

#endif
