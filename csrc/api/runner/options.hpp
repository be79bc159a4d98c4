// The command line: one table of options from which parser, help and checks derive.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/status.hpp"

namespace openbpu::runner {

enum class Command : std::uint8_t { Help, Version, ModelInfo, Infer, Perf };

constexpr int kMaxThreads = 32;

// Values as typed; the defaults stand here. Lists stay text until the ports are known.
struct Options {
  Command command = Command::Help;

  std::string model_file;
  std::string model_name;
  std::string core_id = "0";
  std::string isa = "auto";

  std::string input_file;
  std::string input_valid_shape;
  std::string input_stride;

  std::int64_t frame_count = 0;  // 0: 1 for infer, 200 for perf
  std::int64_t perf_time = 0;    // minutes
  std::int64_t perf_time_in_seconds = 0;
  std::int64_t thread_num = 1;
  std::int64_t task_priority = 0;
  std::int64_t task_timeout = 0;  // milliseconds; 0: none
  bool enable_warmup = true;
  std::string profile_path;

  bool enable_dump = false;
  std::string dump_path = ".";
  std::string dump_format = "bin";
  std::int64_t dump_precision = 9;
  std::int64_t dump_txt_axis = -1;
  std::int64_t dump_intermediate = 0;
  bool exact_machine = false;
  bool hybrid_dequantize_process = false;
  bool enable_cls_post_process = false;

  std::vector<std::string> notes;  // options given that change nothing here, each with the reason
};

// Takes --name=value, --name value, one dash or two, - for _ inside names; --name, --noname and --name=false for
// switches. The sub-command may stand anywhere. Errors name the argument, what it takes, and the nearest name.
Result<Options> parse_options(const std::vector<std::string>& arguments);

// The sub-commands and all options with their defaults.
std::string help_text(const std::string& program);

}  // namespace openbpu::runner
