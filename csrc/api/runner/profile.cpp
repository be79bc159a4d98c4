#include "api/runner/profile.hpp"

#include <algorithm>
#include <cinttypes>

#include "api/runner/files.hpp"
#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

std::string times_json(const Durations& d) {
  return format("{\"avg_time\": %.6f, \"max_time\": %.6f, \"min_time\": %.6f}", d.mean(), d.largest(), d.smallest());
}

std::string csv_line(const std::string& node, const char* processor, const char* stage, const Durations& d) {
  return format("%s,%s,%s,%.6f,%.6f,%.6f\n", node.c_str(), processor, stage, d.mean(), d.largest(), d.smallest());
}

// "0" or "[1, 2]".
std::string core_json(const std::string& core_id) {
  const std::vector<std::string> ids = split(core_id, ',');
  return ids.size() == 1 ? ids.front() : "[" + join(ids, ", ") + "]";
}

}  // namespace

void Durations::add(double milliseconds) {
  largest_ = count_ ? std::max(largest_, milliseconds) : milliseconds;
  smallest_ = count_ ? std::min(smallest_, milliseconds) : milliseconds;
  sum_ += milliseconds;
  ++count_;
}

void Durations::add(const Durations& other) {
  if (!other.count_) return;
  largest_ = count_ ? std::max(largest_, other.largest_) : other.largest_;
  smallest_ = count_ ? std::min(smallest_, other.smallest_) : other.smallest_;
  sum_ += other.sum_;
  count_ += other.count_;
}

void Profile::add(const Worker& worker, double milliseconds) {
  if (nodes_.empty())
    for (const Segment& segment : worker.segments()) nodes_.push_back({segment.name, segment.bpu, {}, {}, {}});
  double bpu = 0, cpu = 0;
  for (std::size_t k = 0; k < nodes_.size(); ++k) {
    const SegmentTime& time = worker.segment_times()[k];
    nodes_[k].start.add(time.start);
    nodes_[k].compute.add(time.compute);
    nodes_[k].total.add(time.start + time.compute);
    (nodes_[k].bpu ? bpu : cpu) += time.compute;
  }
  bpu_.add(bpu);
  cpu_.add(cpu);
  task_.add(milliseconds);
}

void Profile::add(const Profile& other) {
  if (nodes_.empty()) nodes_.resize(other.nodes_.size());
  for (std::size_t k = 0; k < other.nodes_.size(); ++k) {
    Node& node = nodes_[k];
    const Node& more = other.nodes_[k];
    node.name = more.name;
    node.bpu = more.bpu;
    node.start.add(more.start);
    node.compute.add(more.compute);
    node.total.add(more.total);
  }
  bpu_.add(other.bpu_);
  cpu_.add(other.cpu_);
  task_.add(other.task_);
}

std::string Profile::log(const Options& options, const std::string& model, const PerfResult& result) const {
  std::string text = format("{\n  \"perf_result\": {\"FPS\": %.6f, \"average_latency\": %.6f},\n",
                            result.frames_per_second, result.mean_latency);
  text += format("  \"running_condition\": {\"core_id\": %s, \"frame_count\": %" PRIu64
                 ", \"model_name\": %s, \"run_time\": %.6f, \"thread_num\": %" PRId64 "}\n}\n***\n{\n",
                 core_json(options.core_id).c_str(), result.frames, json_string(model).c_str(), result.run_milliseconds,
                 options.thread_num);
  text += "  \"model_latency\": {";
  for (const Node& node : nodes_) {
    text += format("%s\n    %s: {", &node == nodes_.data() ? "" : ",", json_string(node.name).c_str());
    if (node.bpu)
      text += "\n      \"Stage1-GenerateBpuTask\": " + times_json(node.start) +
              ",\n      \"Stage2-BpuCoreProcess\": " + times_json(node.compute) + ",";
    text += "\n      \"Total\": " + times_json(node.total) + "\n    }";
  }
  text += "\n  },\n  \"processor_latency\": {\n    \"BPU_inference_time_cost\": " + times_json(bpu_) +
          ",\n    \"CPU_inference_time_cost\": " + times_json(cpu_);
  return text + "\n  },\n  \"task_latency\": {\"TaskRunningTime\": " + times_json(task_) + "}\n}\n";
}

std::string Profile::csv() const {
  std::string text = "node,processor,stage,avg_ms,max_ms,min_ms\n";
  for (const Node& node : nodes_) {
    const char* processor = node.bpu ? "BPU" : "CPU";
    if (node.bpu) {
      text += csv_line(node.name, processor, "Stage1-GenerateBpuTask", node.start);
      text += csv_line(node.name, processor, "Stage2-BpuCoreProcess", node.compute);
    }
    text += csv_line(node.name, processor, "Total", node.total);
  }
  text += csv_line("BPU_inference_time_cost", "BPU", "Total", bpu_);
  text += csv_line("CPU_inference_time_cost", "CPU", "Total", cpu_);
  return text + csv_line("TaskRunningTime", "", "Total", task_);
}

Status write_profile(const Options& options, const std::string& model, const PerfResult& result,
                     const Profile& profile) {
  if (options.profile_path.empty()) return {};
  const std::string log = profile.log(options, model, result);
  if (Status status = write_file(options.profile_path + "/profiler.log", log); !status.ok()) return status;
  return write_file(options.profile_path + "/profiler.csv", profile.csv());
}

}  // namespace openbpu::runner
