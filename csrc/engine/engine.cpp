#include "engine/engine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/claim.hpp"
#include "engine/deadline.hpp"
#include "engine/exact.hpp"
#include "engine/features.hpp"
#include "engine/fuse.hpp"
#include "engine/host_form.hpp"
#include "engine/schedule.hpp"
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

struct StepWork {
  const Step* step;
  std::uint8_t* scratch;
  std::size_t scratch_stride;
};

void run_units(void* context, std::int32_t begin, std::int32_t end, int slot) {
  const StepWork& work = *static_cast<const StepWork*>(context);
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

std::uint64_t padded(std::uint64_t bytes) { return (bytes + 2 * kernels::kSlack + 63) / 64 * 64; }

// Whether and how a run goes on.
class Boundary {
 public:
  Boundary(const Control& control, int threads)
      : control_(control), threads_(threads), deadline_(deadline_after(control.timeout)) {}

  Status pass() const {
    if (control_.cancel && control_.cancel->load(std::memory_order_relaxed))
      return {Code::Cancelled, "run", "it was cancelled"};
    if (deadline_ != kNever && Clock::now() > deadline_)
      return {Code::Timeout, "run", "it took longer than " + std::to_string(control_.timeout.count()) + " ms"};
    return control_.execution ? control_.execution->boundary() : Status();
  }

  int threads() const { return control_.execution ? control_.execution->threads(threads_) : threads_; }

 private:
  const Control& control_;
  const int threads_;
  const Clock::time_point deadline_;
};

Status not_now(const Claim::Hold& turn) {
  if (!turn.is_lost()) return {Code::BadArgument, "run", "another run of this engine is under way"};
  return {Code::Cancelled, "run",
          "the engine was in a run on another thread when the process forked: make a new one in the child"};
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
  explicit State(int thread_count) : threads(thread_count), demand(thread_count) { fork_epoch(); }

  Status place_arenas(const Options& options);
  void follow_program(bool exact);
  std::uint32_t instructions() const {
    return form ? static_cast<std::uint32_t>(form->code.size()) : entry->instructions;
  }
  const isa::Instruction& instruction(std::uint32_t k) const {
    return form ? form->code[k] : program->code()[entry->first_instruction + k];
  }
  std::uint32_t index_of(std::uint32_t k) const { return form ? form->index[k] : k; }
  Status bind_steps(bool join);
  Status pack_steps();
  Status allocate_scratch();

  std::shared_ptr<const container::Program> program;
  const isa::Entry* entry = nullptr;
  const IsaInfo* isa = nullptr;
  const int threads;
  const ThreadDemand demand;
  Claim turn;
  AlignedBytes arena, scratch;  // arena: unless the caller gave one
  AlignedBytes packed;          // constant operands of all steps
  std::uint8_t* ddr = nullptr;
  std::uint8_t* sram = nullptr;
  std::uint8_t flip = 0;
  std::size_t scratch_stride = 0;
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<StepInfo> infos;
  std::optional<HostForm> form;
  isa::Sections sections;  // that steps are bound to
  std::uint64_t ddr_bytes = 0, sram_bytes = 0;
  std::unique_ptr<ExactMachine> exact;
  std::vector<std::size_t> step_of;  // of the instructions of the entry, for the exact machine
};

// DDR, then SRAM. Slack on both sides: vector rows read whole registers.
Status Engine::State::place_arenas(const Options& options) {
  const std::uint64_t ddr_size = padded(ddr_bytes), all = ddr_size + padded(sram_bytes);
  auto* memory = static_cast<std::uint8_t*>(options.arena);
  if (memory) {
    if (options.arena_bytes < all)
      return {Code::BadArgument, "arena",
              "needs " + std::to_string(all) + " bytes; has " + std::to_string(options.arena_bytes)};
    if (reinterpret_cast<std::uintptr_t>(memory) % 64 != 0)
      return {Code::BadArgument, "arena", "must be aligned to 64 bytes"};
    std::memset(memory, 0, all);
  } else {
    arena = AlignedBytes(all);
    memory = arena.data();
    if (!memory)
      return {Code::NoMemory, "arena",
              std::to_string(ddr_bytes) + " bytes of DDR, " + std::to_string(sram_bytes) + " of SRAM"};
  }
  ddr = memory + kernels::kSlack;
  sram = memory + ddr_size + kernels::kSlack;
  return {};
}

// The program as it is written, or what it comes to on this machine.
void Engine::State::follow_program(bool exact_machine) {
  if (!exact_machine) form = find_host_form(*entry, program->sections());
  sections = form ? form->sections(program->sections()) : program->sections();
  ddr_bytes = form ? form->bytes : entry->ddr_bytes;
  sram_bytes = form ? 0 : entry->sram_bytes;
}

Status Engine::State::bind_steps(bool join) {
  const Memory memory{program.get(), &sections, ddr, sram, flip};
  step_of.assign(exact ? entry->instructions : 0, 0);
  for (std::uint32_t k = 0; k < instructions(); ++k) {
    Result<std::unique_ptr<Step>> bound = bind(instruction(k), memory, *isa);
    if (!bound.ok()) return bound.status();
    if (!bound.value()) continue;
    if (exact) step_of[k] = steps.size();
    bound.value()->info.instruction = index_of(k);
    bound.value()->threaded = estimated_nanoseconds(bound.value()->info, *isa) > kThreadedNanoseconds;
    bound.value()->position = infos.size();
    infos.push_back(bound.value()->info);
    steps.push_back(std::move(bound.value()));
  }
  if (Status status = pack_steps(); !status.ok()) return status;
  if (join && !exact) fuse(steps, infos);
  return {};
}

// One block of memory for all: the operating system gives large ones in large pages.
Status Engine::State::pack_steps() {
  const auto room = [](const Step& step) { return (step.plan.packed_bytes + 63) / 64 * 64; };
  std::size_t bytes = 0;
  for (const auto& step : steps) bytes += room(*step);
  packed = AlignedBytes(bytes);
  if (!packed.data()) return {Code::NoMemory, "engine", std::to_string(bytes) + " bytes for packed weights"};
  std::uint8_t* memory = packed.data();
  for (const auto& step : steps) {
    if (step->plan.packed_bytes > 0) step->pack(memory);
    memory += room(*step);
  }
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
  state->follow_program(options.exact_machine);
  if (Status status = state->place_arenas(options); !status.ok()) return status;
  state->flip = options.flip.value_or(isa.value()->flip);
  if (options.exact_machine) {
    const isa::Sections& sections = state->program->sections();
    if (Status status = isa::check_races(*state->entry, sections); !status.ok()) return status;
    state->exact =
        std::make_unique<ExactMachine>(*state->entry, state->sections, Arenas{state->ddr, state->sram}, options.seed);
  }
  if (Status status = state->bind_steps(options.join); !status.ok()) return status;
  if (Status status = state->allocate_scratch(); !status.ok()) return status;
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Result<std::uint64_t> Engine::required_memory(const container::Program& program, const std::string& entry) {
  const Result<const isa::Entry*> found = find_entry(program, entry);
  if (!found.ok()) return found.status();
  const std::optional<HostForm> form = find_host_form(*found.value(), program.sections());
  return form ? padded(form->bytes) + padded(0) : padded(found.value()->ddr_bytes) + padded(found.value()->sram_bytes);
}

Status Engine::run(Span<const void* const> inputs, Span<void* const> outputs, const Control& control) {
  if (!control.trace) return run_steps(inputs, outputs, control, [](std::size_t, const auto& work) { work(); });
  return run_steps(inputs, outputs, control, [&](std::size_t k, const auto& work) {
    const State& s = *state_;
    const std::size_t first = s.steps[k]->position;
    const std::size_t next = k + 1 < s.steps.size() ? s.steps[k + 1]->position : s.infos.size();
    const auto start = Clock::now();
    work();
    control.trace(control.trace_context,
                  {s.infos[first], static_cast<std::uint32_t>(next - first), start, Clock::now()});
  });
}

Status Engine::run_profiled(Span<const void* const> inputs, Span<void* const> outputs) {
  return run_steps(inputs, outputs, {}, [this](std::size_t k, const auto& work) {
    const auto start = Clock::now();
    work();
    state_->infos[state_->steps[k]->position].nanoseconds =
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
  });
}

template <class Observe>
Status Engine::run_steps(Span<const void* const> inputs, Span<void* const> outputs, const Control& control,
                         Observe observe) {
  State& s = *state_;
  if (Status status = check_memory(*s.entry, inputs, outputs); !status.ok()) return status;
  if (Status status = check_timeout(control.timeout); !status.ok()) return status;
  const Claim::Hold turn(s.turn);
  if (!turn.ok()) return not_now(turn);
  const Boundary boundary(control, s.threads);
  if (s.exact) {
    for (std::uint32_t k : s.exact->start()) {
      if (Status status = boundary.pass(); !status.ok()) return status;
      if (Status status = s.exact->before(k); !status.ok()) return status;
      if (Status status = run_step(s.step_of[k], inputs, outputs, 1, observe); !status.ok()) return status;
      s.exact->after(k);
    }
    return {};
  }
  for (std::size_t k = 0; k < s.steps.size(); ++k) {
    if (Status status = boundary.pass(); !status.ok()) return status;
    if (Status status = run_step(k, inputs, outputs, boundary.threads(), observe); !status.ok()) return status;
  }
  return {};
}

template <class Observe>
Status Engine::run_step(std::size_t k, Span<const void* const> inputs, Span<void* const> outputs, int threads,
                        Observe observe) {
  State& s = *state_;
  Step& step = *s.steps[k];
  if (step.stops)
    return {Code::Trap, "instruction " + std::to_string(step.info.instruction),
            "the program stopped itself with trap " + std::to_string(step.trap)};
  for (const PortView& port : step.ports) {
    const void* memory = port.region == isa::Region::In ? inputs[port.port] : outputs[port.port];
    *port.data = static_cast<std::uint8_t*>(const_cast<void*>(memory)) + port.offset;
    if (reinterpret_cast<std::uintptr_t>(memory) % port.alignment != 0)
      return {
          Code::BadArgument,
          std::string(port.region == isa::Region::In ? "input " : "output ") + std::to_string(port.port),
          "an operator on the CPU uses it: its memory must be aligned to " + std::to_string(port.alignment) + " bytes"};
  }
  observe(k, [&] {
    StepWork work{&step, s.scratch.data(), s.scratch_stride};
    parallel_run({run_units, &work, step.plan.units}, step.threaded ? threads : 1);
  });
  if (const char* failure = step.failure())
    return {Code::Trap, "instruction " + std::to_string(step.info.instruction) + " (" + step.info.row + ")", failure};
  return {};
}

std::vector<Written> Engine::written(std::uint32_t index, Span<void* const> outputs) const {
  const State& s = *state_;
  const auto at = s.form ? std::find(s.form->index.begin(), s.form->index.end(), index) - s.form->index.begin() : index;
  return read_written(s.instruction(static_cast<std::uint32_t>(at)), s.sections, {s.ddr, s.sram, outputs, s.flip});
}

Span<const StepInfo> Engine::steps() const { return state_->infos; }
bool Engine::is_joined() const { return state_->form.has_value(); }
std::uint64_t Engine::moved_bytes() const { return state_->exact ? state_->exact->moved_bytes() : 0; }
const char* Engine::isa() const { return state_->isa->name; }
int Engine::threads() const { return state_->threads; }

Span<const isa::Port> Engine::inputs() const {
  return state_->program->ports().subspan(state_->entry->first_port, state_->entry->inputs);
}

Span<const isa::Port> Engine::outputs() const {
  return state_->program->ports().subspan(state_->entry->first_port + state_->entry->inputs, state_->entry->outputs);
}

}  // namespace openbpu::engine
