// The models of .bpux files, and workers that run one of them: the only part of the runner that knows the engine.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/runner/inputs.hpp"
#include "api/runner/options.hpp"
#include "api/runner/tensor.hpp"
#include "container/program.hpp"
#include "engine/engine.hpp"
#include "engine/scheduler.hpp"
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

// Consecutive instructions on one processor, the BPU or the CPU.
struct Segment {
  std::string name;  // "Node-1-BPU-CONV2D_bpu_segment_0"
  bool bpu = false;
};

// How long a segment of one run waited for its first instruction, and how long it took from there to its last.
struct SegmentTime {
  double start = 0, compute = 0;  // milliseconds
};

// Takes what an instruction has just written.
using Values =
    std::function<void(std::uint32_t instruction, const std::string& op, const std::vector<engine::Written>& values)>;

// An engine that runs as a task of the process, with the outputs of its last run.
class Worker {
 public:
  // Priority, time-out and cores as the options say: as many threads as cores are named, one for "any".
  static Result<std::unique_ptr<Worker>> create(const Model& model, const Options& options);

  // Once `cancel` is true, the run ends with Code::Cancelled.
  Status run(const Buffers& inputs, const std::atomic<bool>& cancel);
  // The same, filling in segment_times().
  Status run_timed(const Buffers& inputs, const std::atomic<bool>& cancel);
  // The same, giving what each instruction writes to `values`; for workers of options with dump_intermediate.
  Status run_watched(const Buffers& inputs, const Values& values);

  const Buffers& outputs() const { return outputs_; }
  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<SegmentTime>& segment_times() const { return times_; }

 private:
  Worker() = default;
  Status submit(const Buffers& inputs, engine::Control control);
  static Status work(void* worker, engine::Execution& execution);
  static void note_time(void* worker, const engine::Event& event);
  static void note_value(void* worker, const engine::Event& event);

  std::unique_ptr<engine::Engine> engine_;
  engine::Schedule schedule_;
  engine::Control control_;
  std::vector<const void*> sources_;
  std::vector<void*> targets_;
  Buffers outputs_;
  std::vector<Segment> segments_;
  std::vector<std::size_t> segment_of_step_;
  std::vector<SegmentTime> times_;
  std::size_t current_ = 0;  // segment, while times are noted
  std::chrono::steady_clock::time_point segment_start_, previous_end_;
  const Values* values_ = nullptr;
  engine::Task task_;  // last: its end waits for the run
};

}  // namespace openbpu::runner
