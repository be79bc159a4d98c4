#include "engine/engine.hpp"

#include <algorithm>
#include <chrono>

#include "engine/features.hpp"
#include "engine/fuse.hpp"
#include "engine/step.hpp"
#include "engine/thread_pool.hpp"
#include "support/aligned.hpp"

namespace openbpu::engine {
namespace {

// A step shorter than this runs on the calling thread alone. A region costs 0.6 us while the workers watch and 12 us
// when one must be woken (Xeon with AVX-512, Linux 6, two threads of one region of 16 units).
constexpr double kThreadedNanoseconds = 8000;

double estimated_nanoseconds(const StepInfo& info, const IsaInfo& isa) {
  return static_cast<double>(info.macs) / isa.macs_per_nanosecond +
         static_cast<double>(info.bytes) / isa.bytes_per_nanosecond;
}

struct Work {
  const Step* step;
  std::uint8_t* scratch;
  std::size_t scratch_stride;
};

void run_units(void* context, std::int32_t begin, std::int32_t end, int slot) {
  const Work& work = *static_cast<const Work*>(context);
  work.step->run(work.scratch + static_cast<std::size_t>(slot) * work.scratch_stride, begin, end);
}

Status check(const Options& options) {
  if (options.threads < 0 || options.threads > kMaxThreads)
    return {Code::BadArgument, "threads",
            "must be 0 (all) to " + std::to_string(kMaxThreads) + "; got " + std::to_string(options.threads)};
  if (options.flip && *options.flip != 0 && *options.flip != 0x80)
    return {Code::BadArgument, "flip", "must be 0 or 128; got " + std::to_string(*options.flip)};
  return {};
}

Status check_memory(const isa::Entry& entry, Span<const void* const> inputs, Span<void* const> outputs) {
  if (inputs.size() != entry.inputs || outputs.size() != entry.outputs)
    return {Code::BadArgument, "run", "needs one pointer per port"};
  for (const void* memory : inputs)
    if (!memory) return {Code::BadArgument, "run", "an input has no memory"};
  for (const void* memory : outputs)
    if (!memory) return {Code::BadArgument, "run", "an output has no memory"};
  return {};
}

}  // namespace

Result<const isa::Entry*> find_entry(const container::Program& program, const std::string& name) {
  std::string names;
  for (const isa::Entry& entry : program.entries()) {
    if (name.empty() || program.string(entry.name) == name) return &entry;
    names += std::string(names.empty() ? "" : ", ") + std::string(program.string(entry.name));
  }
  return Status{Code::BadArgument, "entry", "the file holds " + names + ", but no model called " + name};
}

struct Engine::State {
  explicit State(int thread_count) : threads(thread_count), demand(thread_count) {}

  Status allocate_arenas();
  Status bind_steps(std::uint8_t flip);
  Status allocate_scratch();

  std::shared_ptr<const container::Program> program;
  const isa::Entry* entry = nullptr;
  const IsaInfo* isa = nullptr;
  const int threads;
  const ThreadDemand demand;
  AlignedBytes ddr, sram, scratch;
  std::size_t scratch_stride = 0;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<StepInfo> infos;
};

// Slack on both sides: vector rows read whole registers.
Status Engine::State::allocate_arenas() {
  ddr = AlignedBytes(entry->ddr_bytes + 2 * kernels::kSlack);
  sram = AlignedBytes(entry->sram_bytes + 2 * kernels::kSlack);
  if (ddr.data() && sram.data()) return {};
  return {Code::NoMemory, "arena",
          std::to_string(entry->ddr_bytes) + " bytes of DDR, " + std::to_string(entry->sram_bytes) + " of SRAM"};
}

Status Engine::State::bind_steps(std::uint8_t flip) {
  const Memory memory{program.get(), entry, ddr.data() + kernels::kSlack, sram.data() + kernels::kSlack, flip};
  for (std::uint32_t k = 0; k < entry->instructions; ++k) {
    Result<std::unique_ptr<Step>> bound = bind(program->code()[entry->first_instruction + k], memory, *isa);
    if (!bound.ok()) return bound.status();
    if (!bound.value()) continue;
    bound.value()->info.instruction = k;
    bound.value()->threaded = estimated_nanoseconds(bound.value()->info, *isa) > kThreadedNanoseconds;
    bound.value()->position = infos.size();
    infos.push_back(bound.value()->info);
    steps.push_back(std::move(bound.value()));
  }
  fuse(steps, infos);
  return {};
}

Status Engine::State::allocate_scratch() {
  for (const auto& step : steps) scratch_stride = std::max(scratch_stride, (step->plan.scratch_bytes + 63) / 64 * 64);
  scratch = AlignedBytes(scratch_stride * static_cast<std::size_t>(threads));
  if (scratch.data()) return {};
  return {Code::NoMemory, "scratch", std::to_string(scratch_stride) + " bytes per thread"};
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const container::Program> program,
                                               const Options& options) {
  if (!program) return Status{Code::BadArgument, "engine", "a program is needed"};
  if (Status status = check(options); !status.ok()) return status;
  const Result<const IsaInfo*> isa = find_isa(options.isa);
  if (!isa.ok()) return isa.status();
  const Result<const isa::Entry*> entry = find_entry(*program, options.entry);
  if (!entry.ok()) return entry.status();

  auto state = std::make_unique<State>(options.threads == 0 ? available_processors() : options.threads);
  state->program = std::move(program);
  state->entry = entry.value();
  state->isa = isa.value();
  if (Status status = state->allocate_arenas(); !status.ok()) return status;
  if (Status status = state->bind_steps(options.flip.value_or(isa.value()->flip)); !status.ok()) return status;
  if (Status status = state->allocate_scratch(); !status.ok()) return status;
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
  if (Status status = check_memory(*s.entry, inputs, outputs); !status.ok()) return status;
  for (std::size_t k = 0; k < s.steps.size(); ++k) {
    Step& step = *s.steps[k];
    if (step.stops)
      return {Code::Trap, "instruction " + std::to_string(step.info.instruction),
              "the program stopped itself with trap " + std::to_string(step.trap)};
    for (const PortView& port : step.ports) {
      const void* memory = port.region == isa::Region::In ? inputs[port.port] : outputs[port.port];
      *port.data = static_cast<std::uint8_t*>(const_cast<void*>(memory)) + port.offset;
      if (reinterpret_cast<std::uintptr_t>(memory) % port.alignment != 0)
        return {Code::BadArgument,
                std::string(port.region == isa::Region::In ? "input " : "output ") + std::to_string(port.port),
                "an operator on the CPU uses it: its memory must be aligned to " + std::to_string(port.alignment) +
                    " bytes"};
    }
    const auto start = timed ? clock::now() : clock::time_point{};
    Work work{&step, s.scratch.data(), s.scratch_stride};
    parallel_run({run_units, &work, step.plan.units}, step.threaded ? s.threads : 1);
    if (const char* failure = step.failure())
      return {Code::Trap, "instruction " + std::to_string(step.info.instruction) + " (" + step.info.row + ")", failure};
    if (timed)
      s.infos[step.position].nanoseconds = static_cast<std::uint64_t>(
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
