#include "engine/engine.hpp"

#include <algorithm>
#include <chrono>
#include <new>

#include "engine/features.hpp"
#include "engine/step.hpp"
#include "engine/thread_pool.hpp"
#include "support/aligned.hpp"

namespace openbpu::engine {
namespace {

// Below this estimate a step runs on the calling thread: waking the others costs more.
constexpr double kThreadedNanoseconds = 8000;
constexpr double kMacsPerNanosecond = 150, kBytesPerNanosecond = 15;

constexpr int kMaxThreads = 256;

struct Work {
  const Step* step;
  std::uint8_t* scratch;
  std::size_t scratch_stride;
};

void run_units(void* context, std::int32_t begin, std::int32_t end, int worker) {
  const Work& work = *static_cast<const Work*>(context);
  work.step->run(work.scratch + static_cast<std::size_t>(worker) * work.scratch_stride, begin, end);
}

}  // namespace

struct Engine::State {
  std::shared_ptr<const container::Program> program;
  const isa::Entry* entry = nullptr;
  const IsaInfo* isa = nullptr;
  int threads = 1;
  AlignedBytes ddr, sram, scratch;
  std::size_t scratch_stride = 0;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<StepInfo> infos;
};

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const container::Program> program,
                                               const Options& options) {
  if (!program) return Status{Code::BadArgument, "engine", "a program is needed"};
  if (options.threads < 0 || options.threads > kMaxThreads)
    return Status{Code::BadArgument, "threads",
                  "must be 0 (all) to " + std::to_string(kMaxThreads) + "; got " + std::to_string(options.threads)};
  auto state = std::make_unique<State>();
  const Result<const IsaInfo*> isa = find_isa(options.isa);
  if (!isa.ok()) return isa.status();
  state->isa = isa.value();
  state->threads = options.threads == 0 ? available_processors() : options.threads;
  for (const isa::Entry& entry : program->entries())
    if (!state->entry && (options.entry.empty() || program->string(entry.name) == options.entry)) state->entry = &entry;
  if (!state->entry) return Status{Code::BadArgument, "entry", "the file has no model called " + options.entry};

  // Slack on both sides: vector rows read whole registers.
  state->ddr = AlignedBytes(state->entry->ddr_bytes + 2 * kernels::kSlack);
  state->sram = AlignedBytes(state->entry->sram_bytes + 2 * kernels::kSlack);
  if (!state->ddr.data() || !state->sram.data())
    return Status{Code::NoMemory, "arena", std::to_string(state->entry->ddr_bytes) + " bytes of DDR"};
  const Memory memory{program.get(), state->entry, state->ddr.data() + kernels::kSlack,
                      state->sram.data() + kernels::kSlack};
  for (std::uint32_t k = 0; k < state->entry->instructions; ++k) {
    Result<std::unique_ptr<Step>> bound =
        bind(program->code()[state->entry->first_instruction + k], memory, *state->isa);
    if (!bound.ok()) return bound.status();
    if (!bound.value()) continue;
    Step& step = *bound.value();
    step.info.instruction = k;
    step.threaded = static_cast<double>(step.info.macs) / kMacsPerNanosecond +
                        static_cast<double>(step.info.bytes) / kBytesPerNanosecond >
                    kThreadedNanoseconds;
    state->scratch_stride = std::max(state->scratch_stride, (step.plan.scratch_bytes + 63) / 64 * 64);
    state->infos.push_back(step.info);
    state->steps.push_back(std::move(bound.value()));
  }
  state->scratch = AlignedBytes(state->scratch_stride * static_cast<std::size_t>(state->threads));
  if (!state->scratch.data())
    return Status{Code::NoMemory, "scratch", std::to_string(state->scratch_stride) + " bytes"};
  parallel_prepare(state->threads);
  state->program = std::move(program);
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Status Engine::run(Span<const void* const> inputs, Span<void* const> outputs) {
  return run_steps(inputs, outputs, false);
}

Status Engine::run_profiled(Span<const void* const> inputs, Span<void* const> outputs) {
  return run_steps(inputs, outputs, true);
}

Status Engine::run_steps(Span<const void* const> inputs, Span<void* const> outputs, bool timed) {
  using clock = std::chrono::steady_clock;
  State& s = *state_;
  if (inputs.size() != s.entry->inputs || outputs.size() != s.entry->outputs)
    return {Code::BadArgument, "run", "needs one pointer per port"};
  for (std::size_t k = 0; k < s.steps.size(); ++k) {
    Step& step = *s.steps[k];
    for (const PortView& port : step.ports) {
      const void* memory = port.region == isa::Region::In ? inputs[port.port] : outputs[port.port];
      if (!memory) return {Code::BadArgument, "run", "a port has no memory"};
      port.view->data = static_cast<std::uint8_t*>(const_cast<void*>(memory)) + port.base;
    }
    const auto start = timed ? clock::now() : clock::time_point{};
    Work work{&step, s.scratch.data(), s.scratch_stride};
    parallel_run({run_units, &work, step.plan.units}, step.threaded ? s.threads : 1);
    if (timed)
      s.infos[k].nanoseconds = static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start).count());
  }
  return {};
}

Span<const StepInfo> Engine::steps() const { return state_->infos; }
const char* Engine::isa() const { return state_->isa->name; }
int Engine::threads() const { return state_->threads; }

Span<const isa::Port> Engine::inputs() const {
  return state_->program->ports().subspan(state_->entry->first_port, state_->entry->inputs);
}

Span<const isa::Port> Engine::outputs() const {
  return state_->program->ports().subspan(state_->entry->first_port + state_->entry->inputs, state_->entry->outputs);
}

}  // namespace openbpu::engine
