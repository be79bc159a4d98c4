#include "api/runner/options.hpp"

#include <algorithm>
#include <string_view>

#include "api/runner/text.hpp"

namespace openbpu::runner {
namespace {

struct CommandInfo {
  const char* name;
  Command command;
  const char* help;
};

constexpr CommandInfo kCommands[] = {
    {"model_info", Command::ModelInfo, "print models, inputs, outputs and memory of .bpux files"},
    {"infer", Command::Infer, "run a model on input files, print the time, dump the outputs"},
    {"perf", Command::Perf, "run a model many times, print latency and frames per second"},
};

enum Uses : unsigned { kInfo = 1, kInfer = 2, kPerf = 4, kRun = kInfer | kPerf, kAll = kInfo | kRun };

unsigned use_of(Command command) {
  return command == Command::ModelInfo ? kInfo : command == Command::Infer ? kInfer : kPerf;
}

const char* name_of(Command command) {
  for (const CommandInfo& info : kCommands)
    if (info.command == command) return info.name;
  return "";
}

// An option is a text, a whole number with bounds, or a switch. None of the three: accepted, and said to do nothing.
struct OptionInfo {
  const char* name;
  unsigned uses;  // sub-commands in which it means something
  const char* value;
  const char* help;  // for an option without meaning: why it has none
  std::string Options::* text = nullptr;
  std::int64_t Options::* number = nullptr;
  std::int64_t lowest = 0, highest = 0;
  bool Options::* flag = nullptr;
  bool ignored_flag = false;  // without meaning, and takes no value

  bool is_flag() const { return flag || ignored_flag; }
  bool ignored() const { return !text && !number && !flag; }
};

constexpr OptionInfo text(const char* name, unsigned uses, const char* value, std::string Options::* member,
                          const char* help) {
  return {name, uses, value, help, member};
}
constexpr OptionInfo number(const char* name, unsigned uses, std::int64_t lowest, std::int64_t highest,
                            std::int64_t Options::* member, const char* help) {
  return {name, uses, "N", help, nullptr, member, lowest, highest};
}
constexpr OptionInfo flag(const char* name, unsigned uses, bool Options::* member, const char* help) {
  return {name, uses, "", help, nullptr, nullptr, 0, 0, member};
}
constexpr OptionInfo ignored(const char* name, const char* reason) { return {name, kAll, "X", reason}; }
constexpr OptionInfo ignored_flag(const char* name, const char* reason) {
  return {name, kAll, "", reason, nullptr, nullptr, 0, 0, nullptr, true};
}

constexpr std::int64_t kMaxFrames = 1'000'000'000'000;

constexpr OptionInfo kOptions[] = {
    text("model_file", kAll, "FILE[,FILE...]", &Options::model_file, ".bpux files"),
    text("model_name", kAll, "NAME", &Options::model_name, "which model, where the files hold several"),
    text("core_id", kRun, "ID[,ID...]", &Options::core_id,
         "cores: 0 any, 1 the first, 2 the second, ...; a list runs the model on as many cores"),
    text("isa", kRun, "NAME", &Options::isa, "kernels to use: auto, scalar, avx2, ..."),
    text("input_file", kRun, "FILE[,FILE...]", &Options::input_file,
         "one .npy, .bin or .txt per input; perf makes random data if there is none"),
    text("input_valid_shape", kRun, "N,..[;N,..]", &Options::input_valid_shape,
         "shape of each input, checked against the model"),
    text("input_stride", kRun, "N,..[;N,..]", &Options::input_stride,
         "byte strides of each .bin input that is not dense"),
    number("frame_count", kRun, 1, kMaxFrames, &Options::frame_count, "runs: 1 for infer, 200 for perf by default"),
    number("perf_time", kPerf, 0, 60 * 24 * 365, &Options::perf_time, "minutes to run instead of frame_count"),
    number("perf_time_in_seconds", kPerf, 0, 60 * 60 * 24 * 365, &Options::perf_time_in_seconds,
           "seconds to run instead of frame_count or perf_time"),
    number("thread_num", kPerf, 1, kMaxThreads, &Options::thread_num, "threads that each run frames"),
    number("task_priority", kRun, 0, 255, &Options::task_priority,
           "of each run: up to 253 wait for a core, 254 and 255 stop others"),
    number("task_timeout", kRun, 0, 24 * 3600 * 1000, &Options::task_timeout,
           "milliseconds after which a run fails; 0: never"),
    flag("enable_warmup", kPerf, &Options::enable_warmup, "one run per thread before the clock starts"),
    text("profile_path", kPerf, "FOLDER", &Options::profile_path, "write profiler.log and profiler.csv there"),
    flag("enable_dump", kRun, &Options::enable_dump, "write the outputs of the last run"),
    text("dump_path", kRun, "FOLDER", &Options::dump_path, "where to"),
    text("dump_format", kRun, "bin|txt|npy", &Options::dump_format, "how"),
    number("dump_precision", kRun, 0, 100, &Options::dump_precision, "digits after the point in txt"),
    number("dump_txt_axis", kRun, -1, 8, &Options::dump_txt_axis,
           "a line of txt holds the elements of this axis and those behind it; -1: one element"),
    number("dump_intermediate", kInfer, 0, 3, &Options::dump_intermediate,
           "write what each instruction writes: 1 bin, 2 bin and txt, 3 bin and txt of real values"),
    flag("exact_machine", kInfer, &Options::exact_machine,
         "run each instruction as written: real copies, waits checked, memory that starts as noise; slow"),
    flag("hybrid_dequantize_process", kRun, &Options::hybrid_dequantize_process, "dump quantised outputs as float32"),
    flag("enable_cls_post_process", kInfer, &Options::enable_cls_post_process, "print the five best classes"),
    ignored("input_img_properties", "colour conversion is part of the compiled model"),
    ignored_flag("roi_infer", "regions of interest are ordinary inputs"),
    ignored("roi", "regions of interest are ordinary inputs"),
    ignored_flag("enable_mem_lru", "there is no device memory to keep"),
    ignored("statistic_cycle", "results are printed once, at the end"),
    ignored("log_level", "there is no log"),
};

std::vector<std::string> option_names() {
  std::vector<std::string> names = {"help", "version"};
  for (const OptionInfo& info : kOptions) names.emplace_back(info.name);
  return names;
}

const OptionInfo* find_option(std::string_view name) {
  for (const OptionInfo& info : kOptions)
    if (name == info.name) return &info;
  return nullptr;
}

bool parse_switch(std::string_view value, bool& result) {
  constexpr std::string_view yes[] = {"true", "t", "yes", "y", "1"}, no[] = {"false", "f", "no", "n", "0"};
  result = std::find(std::begin(yes), std::end(yes), value) != std::end(yes);
  return result || std::find(std::begin(no), std::end(no), value) != std::end(no);
}

Status wrong(const std::string& where, std::string message) { return {Code::BadArgument, where, std::move(message)}; }

class Parser {
 public:
  explicit Parser(const std::vector<std::string>& arguments) : arguments_(arguments) {}

  Result<Options> parse() {
    bool commanded = false;
    for (next_ = 0; next_ < arguments_.size();) {
      const std::string argument = arguments_[next_++];
      if (argument.size() > 1 && argument[0] == '-') {
        if (Status status = option(argument); !status.ok()) return status;
        if (done_) return options_;
      } else if (commanded) {
        return wrong(argument, std::string("only options may follow the sub-command ") + name_of(options_.command));
      } else {
        if (Status status = command(argument); !status.ok()) return status;
        if (options_.command == Command::Help) return options_;
        commanded = true;
      }
    }
    if (commanded) note_unused();
    return options_;
  }

 private:
  Status command(const std::string& name) {
    std::vector<std::string> names = {"help"};
    for (const CommandInfo& info : kCommands) {
      if (name == info.name) {
        options_.command = info.command;
        return {};
      }
      names.emplace_back(info.name);
    }
    if (name == "help") return {};
    const std::string near = nearest(name, names);
    return wrong(name, "there is no such sub-command; " +
                           (near.empty() ? "there are " + join(names, ", ") : "did you mean " + near + "?"));
  }

  Status option(const std::string& argument) {
    std::string name = argument.substr(argument.compare(0, 2, "--") == 0 ? 2 : 1);
    const std::size_t equals = name.find('=');
    const bool has_value = equals != std::string::npos;
    std::string value = has_value ? name.substr(equals + 1) : "";
    name = name.substr(0, equals);
    std::replace(name.begin(), name.end(), '-', '_');
    if (name == "h" || name == "help" || name == "version") {
      options_.command = name == "version" ? Command::Version : Command::Help;
      done_ = true;
      return {};
    }
    const OptionInfo* info = find_option(name);
    if (!info && !has_value && name.compare(0, 2, "no") == 0) {
      info = find_option(name.substr(2));
      if (info && info->is_flag()) return set(*info, "false");
      info = nullptr;
    }
    if (!info) {
      const std::string near = nearest(name, option_names());
      return wrong(argument,
                   "there is no such option; " + (near.empty() ? "--help lists all" : "did you mean --" + near + "?"));
    }
    bool ignored_value = false;
    if (!has_value && info->is_flag())
      value =
          next_ < arguments_.size() && parse_switch(arguments_[next_], ignored_value) ? arguments_[next_++] : "true";
    else if (!has_value && next_ == arguments_.size())
      return wrong(argument, std::string("needs a value: --") + info->name + "=" + info->value);
    else if (!has_value)
      value = arguments_[next_++];
    return set(*info, value);
  }

  Status set(const OptionInfo& info, const std::string& value) {
    given_.push_back(&info);
    const std::string where = std::string("--") + info.name;
    if (info.text) {
      options_.*info.text = value;
    } else if (info.number) {
      std::int64_t parsed = 0;
      if (!parse_number(value, parsed) || parsed < info.lowest || parsed > info.highest)
        return wrong(where,
                     format("must be a whole number from %lld to %lld; it is %s", static_cast<long long>(info.lowest),
                            static_cast<long long>(info.highest), value.c_str()));
      options_.*info.number = parsed;
    } else if (info.is_flag()) {
      bool parsed = false;
      if (!parse_switch(value, parsed)) return wrong(where, "must be true or false; it is " + value);
      if (info.flag) options_.*info.flag = parsed;
    }
    return {};
  }

  void note_unused() {
    for (const OptionInfo* info : given_) {
      const std::string start = std::string("--") + info->name + " has no effect";
      if (info->ignored())
        options_.notes.push_back(start + ": " + info->help);
      else if (!(info->uses & use_of(options_.command)))
        options_.notes.push_back(start + " with " + name_of(options_.command));
    }
  }

  const std::vector<std::string>& arguments_;
  std::size_t next_ = 0;
  bool done_ = false;
  Options options_;
  std::vector<const OptionInfo*> given_;
};

std::string default_of(const OptionInfo& info, const Options& defaults) {
  if (info.text) return defaults.*info.text;
  if (info.flag) return defaults.*info.flag ? "true" : "false";
  if (info.number == &Options::frame_count || !info.number) return "";
  return std::to_string(defaults.*info.number);
}

}  // namespace

Result<Options> parse_options(const std::vector<std::string>& arguments) { return Parser(arguments).parse(); }

std::string help_text(const std::string& program) {
  std::string text =
      "Runs compiled models (.bpux) and measures them.\n\nusage: " + program + " SUB-COMMAND [OPTIONS]\n\n";
  for (const CommandInfo& info : kCommands) text += format("  %-12s %s\n", info.name, info.help);
  text += "\noptions, as --name=value or --name value:\n";
  const Options defaults;
  for (const OptionInfo& info : kOptions) {
    if (info.ignored()) continue;
    const std::string left = std::string(info.name) + (*info.value ? std::string(" ") + info.value : "");
    const std::string value = default_of(info, defaults);
    text += format("  --%-32s %s%s\n", left.c_str(), info.help, value.empty() ? "" : (" [" + value + "]").c_str());
  }
  text += "\naccepted without effect:\n";
  for (const OptionInfo& info : kOptions)
    if (info.ignored()) text += format("  --%-32s %s\n", info.name, info.help);
  return text + "\nexample: " + program + " perf --model_file=net.bpux --thread_num=2 --frame_count=500\n";
}

}  // namespace openbpu::runner
