#include "api/runner/model.hpp"

#include "api/runner/files.hpp"
#include "api/runner/text.hpp"
#include "isa/reflect.hpp"

namespace openbpu::runner {
namespace {

Tensor tensor_of(const container::Program& program, const isa::Port& port) {
  Tensor tensor;
  tensor.name = program.string(port.name);
  tensor.dtype = static_cast<isa::DType>(port.dtype);
  tensor.shape.assign(port.shape, port.shape + port.rank);
  tensor.flags = port.flags;
  tensor.scale = port.scale;
  tensor.zero_point = port.zero_point;
  return tensor;
}

Result<Model> model_of(const std::string& file, const std::shared_ptr<const container::Program>& program,
                       const isa::Entry& entry) {
  Model model;
  model.name = program->string(entry.name);
  model.file = file;
  model.program = program;
  model.entry = &entry;
  for (std::uint32_t k = 0; k < entry.inputs + entry.outputs; ++k) {
    const isa::Port& port = program->ports()[entry.first_port + k];
    if (!is_known(static_cast<isa::DType>(port.dtype)))
      return Status{Code::Unsupported, file + ", port " + std::string(program->string(port.name)),
                    "has an element type that this runner does not know: " + std::to_string(port.dtype)};
    (k < entry.inputs ? model.inputs : model.outputs).push_back(tensor_of(*program, port));
  }
  return model;
}

Status unknown_model(const std::string& name, const std::vector<std::string>& names) {
  const std::string near = nearest(name, names);
  return {Code::BadArgument, "--model_name",
          "there is no model " + name + "; " +
              (near.empty() ? "there are " + join(names, ", ") : "did you mean " + near + "?")};
}

const isa::InstructionInfo& info_of(const engine::StepInfo& step) {
  return *isa::find_instruction(static_cast<std::uint8_t>(step.op));
}

// The mnemonic; of a CPUCALL, whose rows are called <operator>_<isa>, the operator.
std::string name_of(const engine::StepInfo& step) {
  if (step.op != isa::Op::CPUCALL) return info_of(step).name;
  const std::string row = step.row;
  return row.substr(0, row.rfind('_'));
}

// Bits as in engine::Schedule::cores.
Result<std::uint64_t> core_mask(const std::string& core_id) {
  const std::vector<std::string> ids = split(core_id, ',');
  std::uint64_t mask = 0;
  for (const std::string& text : ids) {
    int id = 0;
    const bool good = parse_number(text, id) && id >= 0 && id <= engine::kMaxCores && (id > 0 || ids.size() == 1);
    const std::uint64_t bit = id == 0 ? engine::kAnyCore : std::uint64_t{1} << (id - 1);
    if (!good || (mask & bit) != 0)
      return Status{Code::BadArgument, "--core_id",
                    format("must be 0 (any), or different cores from 1 to %d separated by ','; it is %s",
                           engine::kMaxCores, core_id.c_str())};
    mask |= bit;
  }
  if (mask == 0) return Status{Code::BadArgument, "--core_id", "must not be empty"};
  return mask;
}

}  // namespace

Result<std::vector<Model>> load_models(const Options& options) {
  std::vector<Model> models;
  std::vector<std::string> names;
  const std::vector<std::string> files = split(options.model_file, ',');
  if (files.empty()) return Status{Code::BadArgument, "--model_file", "is needed: --model_file=net.bpux"};
  for (const std::string& file : files) {
    if (Status status = check_file(file); !status.ok()) return status;
    const Result<std::shared_ptr<const container::Program>> program = container::Program::load(file);
    if (!program.ok()) {
      const Status& status = program.status();
      const std::string where = status.where() == file ? file : file + ", " + status.where();
      return Status{status.code(), where, status.message()};
    }
    for (const isa::Entry& entry : program.value()->entries()) {
      Result<Model> model = model_of(file, program.value(), entry);
      if (!model.ok()) return model.status();
      names.push_back(model.value().name);
      if (options.model_name.empty() || options.model_name == names.back()) models.push_back(std::move(model.value()));
    }
  }
  if (models.empty()) return unknown_model(options.model_name, names);
  return models;
}

Result<Model> load_model(const Options& options) {
  Result<std::vector<Model>> models = load_models(options);
  if (!models.ok()) return models.status();
  if (models.value().size() == 1) return models.value().front();
  std::vector<std::string> names;
  for (const Model& model : models.value()) names.push_back(model.name + " (" + model.file + ")");
  return Status{
      Code::BadArgument, "--model_name",
      std::string(options.model_name.empty() ? "is needed, for" : "fits several models, so load one file only:") +
          " there are " + join(names, ", ")};
}

Result<std::unique_ptr<Worker>> Worker::create(const Model& model, const Options& options) {
  std::unique_ptr<Worker> worker(new Worker);
  const Result<std::uint64_t> cores = core_mask(options.core_id);
  if (!cores.ok()) return cores.status();
  worker->schedule_.priority = static_cast<int>(options.task_priority);
  worker->schedule_.cores = cores.value();
  worker->schedule_.timeout = std::chrono::milliseconds(options.task_timeout);

  engine::Options engine_options;
  engine_options.entry = model.name;
  engine_options.isa = options.isa;
  engine_options.threads = static_cast<int>(split(options.core_id, ',').size());
  engine_options.join = options.dump_intermediate == 0;
  engine_options.exact_machine = options.exact_machine;
  Result<std::unique_ptr<engine::Engine>> engine = engine::Engine::create(model.program, engine_options);
  if (!engine.ok()) return engine.status();
  worker->engine_ = std::move(engine.value());

  worker->sources_.resize(model.inputs.size());
  for (const Tensor& output : model.outputs) worker->outputs_.emplace_back(output.bytes());
  for (auto& buffer : worker->outputs_) worker->targets_.push_back(buffer.data());
  int bpu_segments = 0;
  for (const engine::StepInfo& step : worker->engine_->steps()) {
    std::vector<Segment>& segments = worker->segments_;
    const bool bpu = info_of(step).queue != isa::Queue::Cpu;
    if (segments.empty() || segments.back().bpu != bpu) {
      const std::string name = name_of(step);
      segments.push_back({bpu ? format("Node-%zu-BPU-%s_bpu_segment_%d", segments.size(), name.c_str(), bpu_segments++)
                              : format("Node-%zu-CPU-%s", segments.size(), name.c_str()),
                          bpu});
    }
    worker->segment_of_step_.push_back(segments.size() - 1);
  }
  worker->times_.resize(worker->segments_.size());
  return worker;
}

Status Worker::run(const Buffers& inputs, const std::atomic<bool>& cancel) {
  engine::Control control;
  control.cancel = &cancel;
  return submit(inputs, control);
}

Status Worker::run_timed(const Buffers& inputs, const std::atomic<bool>& cancel) {
  engine::Control control;
  control.cancel = &cancel;
  control.trace = note_time;
  current_ = segments_.size();
  previous_end_ = std::chrono::steady_clock::now();
  return submit(inputs, control);
}

Status Worker::run_watched(const Buffers& inputs, const Values& values) {
  engine::Control control;
  control.trace = note_value;
  values_ = &values;
  return submit(inputs, control);
}

Status Worker::submit(const Buffers& inputs, engine::Control control) {
  for (std::size_t k = 0; k < inputs.size(); ++k) sources_[k] = inputs[k].data();
  control_ = control;
  control_.trace_context = this;
  if (Status status = task_.submit({work, this}, schedule_); !status.ok()) return status;
  return task_.wait();
}

Status Worker::work(void* worker, engine::Execution& execution) {
  Worker& self = *static_cast<Worker*>(worker);
  self.control_.execution = &execution;
  return self.engine_->run(self.sources_, self.targets_, self.control_);
}

void Worker::note_time(void* worker, const engine::Event& event) {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  Worker& self = *static_cast<Worker*>(worker);
  const auto step = static_cast<std::size_t>(&event.first - self.engine_->steps().data());
  const std::size_t segment = self.segment_of_step_[step];
  if (segment != self.current_) {
    self.current_ = segment;
    self.segment_start_ = event.start;
    self.times_[segment].start = Milliseconds(event.start - self.previous_end_).count();
  }
  self.previous_end_ = event.end;
  self.times_[segment].compute = Milliseconds(event.end - self.segment_start_).count();
}

void Worker::note_value(void* worker, const engine::Event& event) {
  const Worker& self = *static_cast<const Worker*>(worker);
  const std::uint32_t instruction = event.first.instruction;
  (*self.values_)(instruction, name_of(event.first), self.engine_->written(instruction, self.targets_));
}

}  // namespace openbpu::runner
