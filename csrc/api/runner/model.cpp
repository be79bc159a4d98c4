#include "api/runner/model.hpp"

#include <algorithm>
#include <chrono>

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
  tensor.scale = port.scale;
  tensor.zero_point = port.zero_point;
  return tensor;
}

Model model_of(const std::string& file, const std::shared_ptr<const container::Program>& program,
               const isa::Entry& entry) {
  Model model;
  model.name = program->string(entry.name);
  model.file = file;
  model.program = program;
  model.entry = &entry;
  for (std::uint32_t k = 0; k < entry.inputs + entry.outputs; ++k) {
    const isa::Port& port = program->ports()[entry.first_port + k];
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

std::vector<Segment> segments_of(Span<const engine::StepInfo> steps) {
  std::vector<Segment> segments;
  int bpu_segments = 0;
  for (std::size_t k = 0; k < steps.size(); ++k) {
    const isa::InstructionInfo* info = isa::find_instruction(static_cast<std::uint8_t>(steps[k].op));
    const bool bpu = info->queue != isa::Queue::Cpu;
    if (segments.empty() || segments.back().bpu != bpu) {
      const int node = static_cast<int>(segments.size());
      segments.push_back({bpu ? format("Node-%d-BPU-%s_bpu_segment_%d", node, info->name, bpu_segments++)
                              : format("Node-%d-CPU-%s", node, info->name),
                          bpu, k, k});
    }
    segments.back().end_step = k + 1;
  }
  return segments;
}

// One thread per core named; one for "any".
Result<int> thread_count(const std::string& core_id) {
  std::uint32_t seen = 0;
  const std::vector<std::string> ids = split(core_id, ',');
  for (const std::string& text : ids) {
    int id = 0;
    const bool good = parse_number(text, id) && id >= 0 && id <= kMaxCores && (id > 0 || ids.size() == 1);
    if (!good || seen >> id & 1)
      return Status{Code::BadArgument, "--core_id",
                    format("must be 0 (any), or different cores from 1 to %d separated by ','; it is %s", kMaxCores,
                           core_id.c_str())};
    seen |= 1u << id;
  }
  if (ids.empty()) return Status{Code::BadArgument, "--core_id", "must not be empty"};
  return static_cast<int>(ids.size());
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
      Model model = model_of(file, program.value(), entry);
      names.push_back(model.name);
      if (options.model_name.empty() || options.model_name == model.name) models.push_back(std::move(model));
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
  engine::Options engine_options;
  engine_options.entry = model.name;
  engine_options.isa = options.isa;
  const Result<int> threads = thread_count(options.core_id);
  if (!threads.ok()) return threads.status();
  engine_options.threads = threads.value();
  Result<std::unique_ptr<engine::Engine>> engine = engine::Engine::create(model.program, engine_options);
  if (!engine.ok()) return engine.status();
  std::unique_ptr<Worker> worker(new Worker);
  worker->engine_ = std::move(engine.value());
  for (const Tensor& output : model.outputs) worker->outputs_.emplace_back(output.bytes());
  for (auto& buffer : worker->outputs_) worker->targets_.push_back(buffer.data());
  worker->sources_.resize(model.inputs.size());
  worker->segments_ = segments_of(worker->engine_->steps());
  worker->times_.resize(worker->segments_.size());
  return worker;
}

Status Worker::run(const Buffers& inputs, bool timed) {
  for (std::size_t k = 0; k < inputs.size(); ++k) sources_[k] = inputs[k].data();
  if (!timed) return engine_->run(sources_, targets_);
  const auto begin = std::chrono::steady_clock::now();
  Status status = engine_->run_profiled(sources_, targets_);
  const std::chrono::duration<double, std::milli> whole = std::chrono::steady_clock::now() - begin;
  double computed = 0;
  for (std::size_t k = 0; k < segments_.size(); ++k) {
    std::uint64_t nanoseconds = 0;
    for (std::size_t s = segments_[k].first_step; s < segments_[k].end_step; ++s)
      nanoseconds += engine_->steps()[s].nanoseconds;
    times_[k] = {0, static_cast<double>(nanoseconds) * 1e-6};
    computed += times_[k].compute;
  }
  if (!times_.empty()) times_.front().start = std::max(0.0, whole.count() - computed);
  return status;
}

}  // namespace openbpu::runner
