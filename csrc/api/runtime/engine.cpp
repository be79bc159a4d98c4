#include "engine/engine.hpp"

#include "api/runtime/contents.hpp"
#include "api/runtime/state.hpp"
#include "isa/reflect.hpp"
#include "openbpu/engine.hpp"
#include "openbpu/version.hpp"

namespace openbpu::runtime {
namespace {

std::uint64_t nanoseconds(std::chrono::steady_clock::time_point time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

void trace(void* context, const engine::Event& event) {
  const auto& options = *static_cast<const RunOptions*>(context);
  const engine::StepInfo& first = event.first;
  options.trace(
      options.trace_context,
      {first.instruction, event.instructions, isa::find_instruction(static_cast<std::uint8_t>(first.op))->name,
       first.row, first.layer, first.macs, first.bytes, nanoseconds(event.start), nanoseconds(event.end)});
}

Status no_engine() { return {ErrorCode::BadArgument, "engine", "it was moved from"}; }

}  // namespace

const char* version() noexcept { return OPENBPU_VERSION; }

Engine::Engine(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Result<std::size_t> Engine::required_memory(const Program& program, const EngineOptions& options) noexcept {
  return guarded([&]() -> Result<std::size_t> {
    if (!program.contents_) return Status(ErrorCode::BadArgument, "program", "it holds no model");
    const auto bytes = engine::Engine::required_memory(*program.contents_->program, options.model);
    if (!bytes.ok()) return to_public(bytes.status());
    return static_cast<std::size_t>(bytes.value());
  });
}

Result<Engine> Engine::create(const Program& program, const EngineOptions& options) noexcept {
  return guarded([&]() -> Result<Engine> {
    const Result<Span<const Port>> inputs = program.inputs(options.model), outputs = program.outputs(options.model);
    if (!inputs.ok()) return inputs.status();
    auto made =
        engine::Engine::create(program.contents_->program,
                               {options.model, options.isa, options.threads, {}, options.arena, options.arena_bytes});
    if (!made.ok()) return to_public(made.status());
    return Engine(std::unique_ptr<State>(new State{program, std::move(made.value()), inputs.value(), outputs.value()}));
  });
}

Status Engine::State::run(Span<const void* const> from, Span<void* const> to, const RunOptions& options) {
  engine::Control control;
  control.cancel = options.cancel;
  control.timeout = options.timeout;
  if (options.trace) {
    control.trace = trace;
    control.trace_context = const_cast<RunOptions*>(&options);
  }
  control.execution = reinterpret_cast<engine::Execution*>(options.execution);
  return to_public(engine->run(to_internal(from), to_internal(to), control));
}

Status Engine::run(Span<const void* const> inputs, Span<void* const> outputs, const RunOptions& options) noexcept {
  return guarded([&] { return state_ ? state_->run(inputs, outputs, options) : no_engine(); });
}

Span<const Port> Engine::inputs() const noexcept { return state_ ? state_->inputs : Span<const Port>(); }
Span<const Port> Engine::outputs() const noexcept { return state_ ? state_->outputs : Span<const Port>(); }
const char* Engine::isa() const noexcept { return state_ ? state_->engine->isa() : ""; }
int Engine::threads() const noexcept { return state_ ? state_->engine->threads() : 0; }

}  // namespace openbpu::runtime
