// The models of .bpux files, and workers that run one of them: the only part of the runner that knows the engine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/runner/inputs.hpp"
#include "api/runner/options.hpp"
#include "api/runner/tensor.hpp"
#include "container/program.hpp"
#include "engine/engine.hpp"
#include "support/status.hpp"

namespace openbpu::runner {

struct Model {
  std::string name;
  std::string file;
  std::shared_ptr<const container::Program> program;
  const isa::Entry* entry = nullptr;
  std::vector<Tensor> inputs, outputs;
};

// All models of the comma list options.model_file, in order; only options.model_name if that is given.
Result<std::vector<Model>> load_models(const Options& options);

// The model to run: options.model_name, which may be left out where there is one model.
Result<Model> load_model(const Options& options);

// Consecutive instructions on one processor.
struct Segment {
  std::string name;  // "Node-1-BPU-CONV2D_bpu_segment_0"
  bool bpu = false;
  std::size_t first_step = 0, end_step = 0;  // in Engine::steps()
};

// How long a segment of one run waited for its first instruction, and how long its instructions took.
struct SegmentTime {
  double start = 0, compute = 0;  // milliseconds
};

// An engine with the outputs of its last run.
class Worker {
 public:
  static Result<std::unique_ptr<Worker>> create(const Model& model, const Options& options);

  // `timed` fills in segment_times().
  Status run(const Buffers& inputs, bool timed);

  const Buffers& outputs() const { return outputs_; }
  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<SegmentTime>& segment_times() const { return times_; }

 private:
  Worker() = default;
  std::unique_ptr<engine::Engine> engine_;
  std::vector<const void*> sources_;
  std::vector<void*> targets_;
  Buffers outputs_;
  std::vector<Segment> segments_;
  std::vector<SegmentTime> times_;
};

}  // namespace openbpu::runner
