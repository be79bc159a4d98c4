#include "api/runner/perf.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <system_error>
#include <thread>

#include "api/runner/dump.hpp"
#include "api/runner/files.hpp"
#include "api/runner/inputs.hpp"
#include "api/runner/model.hpp"
#include "api/runner/profile.hpp"
#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

using Clock = std::chrono::steady_clock;

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

double milliseconds(Clock::duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

// The second signal ends the process as usual.
extern "C" void interrupt(int number) {
  interrupted = true;
  std::signal(number, SIG_DFL);
}

// What the threads of a run share.
struct Race {
  const Model& model;
  const Options& options;
  const Buffers& inputs;
  std::int64_t frames = 0;     // to start; unless there is a deadline
  Clock::duration duration{};  // 0: none
  std::atomic<std::int64_t> started{0};
  std::atomic<bool> failed{false};
};

// What one thread brings home.
struct Lap {
  std::unique_ptr<Worker> worker;
  Durations latency;
  Profile profile;
  Clock::time_point first_start, last_end;
  Status status;
};

void run_frames(Race& race, Lap& lap) {
  const bool profiled = !race.options.profile_path.empty();
  const Clock::time_point begin = Clock::now();
  lap.first_start = lap.last_end = begin;
  while (!interrupted && !race.failed) {
    if (race.duration.count() ? Clock::now() - begin >= race.duration : race.started++ >= race.frames) break;
    const Clock::time_point start = Clock::now();
    lap.status = profiled ? lap.worker->run_timed(race.inputs, interrupted) : lap.worker->run(race.inputs, interrupted);
    if (!lap.status.ok()) {
      race.failed = lap.status.code() != Code::Cancelled;
      return;
    }
    lap.last_end = Clock::now();
    const double frame = milliseconds(lap.last_end - start);
    lap.latency.add(frame);
    if (profiled) lap.profile.add(*lap.worker, frame);
  }
}

// Threads that cannot be started are an error of the machine, not a crash.
Status run_threads(Race& race, std::vector<Lap>& laps) {
  std::vector<std::thread> threads;
  Status status;
  try {
    for (std::size_t k = 1; k < laps.size(); ++k) threads.emplace_back(run_frames, std::ref(race), std::ref(laps[k]));
  } catch (const std::system_error& error) {
    race.failed = true;
    status = {Code::NoMemory, "--thread_num", std::string("a thread cannot be started: ") + error.what()};
  }
  if (status.ok()) run_frames(race, laps[0]);
  for (std::thread& thread : threads) thread.join();
  for (const Lap& lap : laps)
    if (status.ok() && lap.status.code() != Code::Cancelled) status = lap.status;
  return status;
}

PerfResult summarise(const std::vector<Lap>& laps) {
  PerfResult result;
  Durations means;
  Clock::time_point first = Clock::time_point::max(), last = Clock::time_point::min();
  for (const Lap& lap : laps) {
    if (!lap.latency.count()) continue;
    first = std::min(first, lap.first_start);
    last = std::max(last, lap.last_end);
    means.add(lap.latency.mean());
    result.latency.add(lap.latency);
  }
  result.frames = result.latency.count();
  if (!result.frames) return result;
  result.run_milliseconds = milliseconds(last - first);
  result.frames_per_second = 1e3 * static_cast<double>(result.frames) / result.run_milliseconds;
  result.mean_latency = means.mean();
  return result;
}

void print(const Options& options, const Model& model, const PerfResult& result) {
  std::printf("model         %s (%s)\n", model.name.c_str(), model.file.c_str());
  std::printf("core_id       %s\n", options.core_id.c_str());
  std::printf("threads       %" PRId64 "\n", options.thread_num);
  std::printf("frames        %" PRIu64 "%s\n", result.frames, interrupted ? " (interrupted)" : "");
  std::printf("run time      %.6g ms\n", result.run_milliseconds);
  std::printf("latency       %.6g ms (least %.6g, most %.6g)\n", result.mean_latency, result.latency.smallest(),
              result.latency.largest());
  std::printf("throughput    %.6g FPS\n", result.frames_per_second);
}

Clock::duration wanted_duration(const Options& options) {
  if (options.perf_time_in_seconds) return std::chrono::seconds(options.perf_time_in_seconds);
  return std::chrono::minutes(options.perf_time);
}

}  // namespace

Status infer(const Options& options) {
  if (options.input_file.empty())
    return {Code::BadArgument, "--input_file", "is needed: one .npy, .bin or .txt per input, separated by ','"};
  const Result<Model> model = load_model(options);
  if (!model.ok()) return model.status();
  const std::vector<Tensor>& outputs = model.value().outputs;
  const Result<Buffers> inputs = load_inputs(options, model.value().inputs);
  if (!inputs.ok()) return inputs.status();
  if (Status status = prepare_dump(options, outputs); !status.ok()) return status;
  const Result<std::unique_ptr<Worker>> worker = Worker::create(model.value(), options);
  if (!worker.ok()) return worker.status();
  const std::int64_t frames = options.frame_count ? options.frame_count : 1;
  Durations latency;
  for (std::int64_t k = 0; k < frames; ++k) {
    const Clock::time_point start = Clock::now();
    if (Status status = worker.value()->run(inputs.value(), interrupted); !status.ok()) return status;
    latency.add(milliseconds(Clock::now() - start));
  }
  std::printf("model         %s (%s)\n", model.value().name.c_str(), model.value().file.c_str());
  std::printf("frames        %" PRId64 "\n", frames);
  std::printf("latency       %.6g ms (least %.6g, most %.6g)\n", latency.mean(), latency.smallest(), latency.largest());
  if (options.dump_intermediate)
    if (Status status = dump_values(options, *worker.value(), inputs.value()); !status.ok()) return status;
  if (options.enable_cls_post_process) print_best_classes(outputs, worker.value()->outputs());
  return dump_outputs(options, outputs, worker.value()->outputs());
}

Status perf(const Options& options) {
  const Result<Model> model = load_model(options);
  if (!model.ok()) return model.status();
  const Result<Buffers> inputs = load_inputs(options, model.value().inputs);
  if (!inputs.ok()) return inputs.status();
  if (Status status = prepare_dump(options, model.value().outputs); !status.ok()) return status;
  if (!options.profile_path.empty())
    if (Status status = make_folder(options.profile_path); !status.ok()) return status;

  std::vector<Lap> laps(static_cast<std::size_t>(options.thread_num));
  for (Lap& lap : laps) {
    Result<std::unique_ptr<Worker>> worker = Worker::create(model.value(), options);
    if (!worker.ok()) return worker.status();
    lap.worker = std::move(worker.value());
    if (!options.enable_warmup) continue;
    if (Status status = lap.worker->run(inputs.value(), interrupted); !status.ok()) return status;
  }

  std::signal(SIGINT, interrupt);
  Race race{model.value(), options, inputs.value(), options.frame_count ? options.frame_count : 200,
            wanted_duration(options)};
  if (Status status = run_threads(race, laps); !status.ok()) return status;

  const PerfResult result = summarise(laps);
  print(options, model.value(), result);
  Profile profile;
  for (const Lap& lap : laps) profile.add(lap.profile);
  if (Status status = write_profile(options, model.value().name, result, profile); !status.ok()) return status;
  if (interrupted) return {};  // the outputs of a run that ended early are not whole
  const auto ran = [](const Lap& lap) { return lap.latency.count() > 0; };
  const auto first = std::find_if(laps.begin(), laps.end(), ran);
  return first == laps.end() ? Status() : dump_outputs(options, model.value().outputs, first->worker->outputs());
}

}  // namespace openbpu::runner
