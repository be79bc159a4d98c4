#include "openbpu/task.hpp"

#include <thread>

#include "api/runtime/contents.hpp"
#include "engine/claim.hpp"
#include "engine/scheduler.hpp"

namespace openbpu::runtime {
namespace {

static_assert(kAnyCore == engine::kAnyCore);

Status under_way() { return {ErrorCode::BadArgument, "task", "it is under way"}; }

Status no_task() { return {ErrorCode::NoMemory, "task", "there is no memory for it, or it was moved from"}; }

}  // namespace

// An Execution is the engine's own, seen through an opaque type.
struct Task::State {
  Work work;
  Engine* engine = nullptr;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  void (*call)(void*, const Status&) = nullptr;
  void* call_context = nullptr;
  engine::Claim change;  // of what stands above
  engine::Task task;     // last: goes first, and waits for what runs

  Status submit(const Schedule& schedule) {
    return to_public(
        task.submit({start, this}, {schedule.priority, schedule.custom_id, schedule.cores, schedule.timeout}));
  }

  static openbpu::Status start(void* self, engine::Execution& execution) {
    State& state = *static_cast<State*>(self);
    auto& opaque = reinterpret_cast<Execution&>(execution);
    return to_internal(state.work.run(state.work.context, opaque));
  }

  static Status run_engine(void* self, Execution& execution) {
    State& state = *static_cast<State*>(self);
    RunOptions options;
    options.execution = &execution;
    return state.engine->run(state.inputs, state.outputs, options);
  }

  static void finish(void* self, const openbpu::Status& status) {
    const State& state = *static_cast<State*>(self);
    state.call(state.call_context, to_public(status));
  }
};

int core_count() noexcept { return engine::core_count(); }
bool on_core() noexcept { return engine::on_core(); }

Task::Task() noexcept : state_(new(std::nothrow) State) {}
Task::~Task() = default;
Task::Task(Task&&) noexcept = default;
Task& Task::operator=(Task&&) noexcept = default;

template <class Call>
Status Task::change(Call call) noexcept {
  return guarded([&]() -> Status {
    if (!state_) return no_task();
    while (true) {
      const engine::Claim::Hold hold(state_->change);
      if (hold.is_lost() || !state_->task.done()) return under_way();
      if (hold.ok()) return call(*state_);
      std::this_thread::yield();  // another call is about to submit it, or has seen it end before it returned
    }
  });
}

Status Task::submit(Engine& engine, Span<const void* const> inputs, Span<void* const> outputs,
                    const Schedule& schedule) noexcept {
  return change([&](State& state) -> Status {
    state.engine = &engine;
    state.inputs.assign(inputs.begin(), inputs.end());
    state.outputs.assign(outputs.begin(), outputs.end());
    state.work = {State::run_engine, &state};
    return state.submit(schedule);
  });
}

Status Task::submit(const Work& work, const Schedule& schedule) noexcept {
  return change([&](State& state) -> Status {
    if (!work.run) return {ErrorCode::BadArgument, "task", "needs work"};
    state.work = work;
    return state.submit(schedule);
  });
}

Status Task::wait(std::chrono::milliseconds timeout) noexcept {
  return guarded([&] { return state_ ? to_public(state_->task.wait(timeout)) : no_task(); });
}

bool Task::done() const noexcept { return !state_ || state_->task.done(); }

void Task::cancel() noexcept {
  if (state_) state_->task.cancel();
}

Status Task::on_done(void (*call)(void*, const Status&), void* context) noexcept {
  return change([&](State& state) {
    state.call = call;
    state.call_context = context;
    return to_public(state.task.on_done(call ? State::finish : nullptr, &state));
  });
}

}  // namespace openbpu::runtime
