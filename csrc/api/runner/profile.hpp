// Time per segment of a perf run, and the two files that tell it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "api/runner/model.hpp"
#include "api/runner/options.hpp"
#include "support/status.hpp"

namespace openbpu::runner {

// Mean, largest and smallest of some durations, in milliseconds.
class Durations {
 public:
  void add(double milliseconds);
  void add(const Durations& other);
  std::uint64_t count() const { return count_; }
  double mean() const { return count_ ? sum_ / static_cast<double>(count_) : 0; }
  double largest() const { return largest_; }
  double smallest() const { return smallest_; }
  double sum() const { return sum_; }

 private:
  std::uint64_t count_ = 0;
  double sum_ = 0, largest_ = 0, smallest_ = 0;
};

// What perf found out.
struct PerfResult {
  std::uint64_t frames = 0;
  double run_milliseconds = 0;  // from the first start to the last end
  double frames_per_second = 0;
  double mean_latency = 0;  // mean over the threads of their means
  Durations latency;        // over all frames
};

// What one thread adds up.
class Profile {
 public:
  // Times of the worker's last run, which took `milliseconds` from call to return.
  void add(const Worker& worker, double milliseconds);
  void add(const Profile& other);

  // The two JSON objects of profiler.log, split by "***".
  std::string log(const Options& options, const std::string& model, const PerfResult& result) const;
  std::string csv() const;

 private:
  struct Node {
    std::string name;
    bool bpu = false;
    Durations start, compute, total;
  };
  std::vector<Node> nodes_;
  Durations bpu_, cpu_, task_;
};

// Writes profiler.log and profiler.csv into options.profile_path, each whole or not at all.
Status write_profile(const Options& options, const std::string& model, const PerfResult& result,
                     const Profile& profile);

}  // namespace openbpu::runner
