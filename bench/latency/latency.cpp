// How long a small urgent model takes while a large one runs without end.
//
//   openbpu_bench_latency small.bpux large.bpux [runs]
//
// The small model is submitted with priority 255, alone and beside the large one with priority 0; both on core 0, where
// the small one preempts, and both on any core. The promise: the 99th percentile is at most twice the latency alone
// plus the longest instruction of the large model.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "openbpu/runtime.hpp"

namespace runtime = openbpu::runtime;

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const runtime::Status& status) {
  std::fprintf(stderr, "%s: %s\n", status.where().c_str(), status.message().c_str());
  std::exit(1);
}

void require(const runtime::Status& status) {
  if (!status.ok()) fail(status);
}

// An engine with buffers of zeros and a task.
class Model {
 public:
  explicit Model(const char* path) : engine_(load(path)) {
    for (const runtime::Port& port : engine_.inputs()) from_.push_back(memory_.emplace_back(port.bytes).data());
    for (const runtime::Port& port : engine_.outputs()) to_.push_back(memory_.emplace_back(port.bytes).data());
  }

  // Microseconds from submission to the return of the wait.
  double run(const runtime::Schedule& schedule) {
    const auto start = Clock::now();
    require(task_.submit(engine_, from_, to_, schedule));
    require(task_.wait());
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  }

  // Microseconds of the longest instruction, as the median of some runs on one thread.
  double longest_instruction() {
    runtime::RunOptions options;
    double longest = 0;
    options.trace = [](void* context, const runtime::InstructionEvent& event) {
      double& most = *static_cast<double*>(context);
      most = std::max(most, static_cast<double>(event.end_nanoseconds - event.start_nanoseconds) / 1e3);
    };
    options.trace_context = &longest;
    std::vector<double> all;
    for (int k = 0; k < 7; ++k) {
      longest = 0;
      require(engine_.run(from_, to_, options));
      all.push_back(longest);
    }
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  }

 private:
  static runtime::Engine load(const char* path) {
    runtime::Result<runtime::Program> program = runtime::Program::from_file(path);
    if (!program.ok()) fail(program.status());
    runtime::Result<runtime::Engine> engine = runtime::Engine::create(program.value());
    if (!engine.ok()) fail(engine.status());
    return std::move(engine.value());
  }

  runtime::Engine engine_;
  std::vector<std::vector<unsigned char>> memory_;
  std::vector<const void*> from_;
  std::vector<void*> to_;
  runtime::Task task_;
};

struct Latency {
  double median, p99, longest;
};

Latency measure(Model& model, int runs, std::uint64_t cores) {
  std::vector<double> all;
  for (int k = 0; k < runs; ++k) {
    std::this_thread::sleep_for(std::chrono::microseconds(500 + k % 7 * 300));  // not in step with the large model
    all.push_back(model.run({255, 0, cores}));
  }
  std::sort(all.begin(), all.end());
  return {all[all.size() / 2], all[all.size() * 99 / 100], all.back()};
}

void print(const char* what, const Latency& latency) {
  std::printf("  %-24s median %9.1f us   p99 %9.1f us   longest %9.1f us\n", what, latency.median, latency.p99,
              latency.longest);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: %s small.bpux large.bpux [runs]\n", argv[0]), 2;
  const int runs = argc > 3 ? std::atoi(argv[3]) : 1000;
  if (runs < 1) return std::fprintf(stderr, "runs: at least 1\n"), 2;
  Model small(argv[1]), large(argv[2]);
  const double instruction = large.longest_instruction();
  std::printf("longest instruction of the large model: %.1f us; %d cores\n", instruction, runtime::core_count());
  bool kept = true;
  for (const auto& [name, cores] : {std::pair{"core 0", std::uint64_t{1}}, std::pair{"any core", runtime::kAnyCore}}) {
    std::printf("%s\n", name);
    for (int k = 0; k < 20; ++k) small.run({255, 0, cores});
    const Latency alone = measure(small, runs, cores);
    print("alone", alone);
    std::atomic<bool> end{false};
    std::thread load([&, mask = cores] {
      while (!end) large.run({0, 0, mask});
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const Latency beside = measure(small, runs, cores);
    end = true;
    load.join();
    print("beside the large model", beside);
    const double bound = 2 * alone.median + instruction;
    kept = kept && beside.p99 <= bound;
    std::printf("  p99 %.1f us %s 2 x %.1f us + %.1f us = %.1f us\n", beside.p99, beside.p99 <= bound ? "<=" : ">",
                alone.median, instruction, bound);
  }
  return kept ? 0 : 1;
}
