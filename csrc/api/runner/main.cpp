// bpux-run, also called hrt_model_exec: model_info, infer and perf for .bpux files (docs/runner.md).
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "api/runner/options.hpp"
#include "api/runner/perf.hpp"
#include "isa/isa.hpp"

namespace {

using openbpu::Status;
using openbpu::runner::Command;
using openbpu::runner::Options;

Status run(const Options& options, const std::string& program) {
  switch (options.command) {
    case Command::Help:
      std::fputs(openbpu::runner::help_text(program).c_str(), stdout);
      return {};
    case Command::Version:
      std::printf("openbpu %s, instruction set %d, numerics %d\n", OPENBPU_VERSION, openbpu::isa::kIsaVersion,
                  openbpu::isa::kNumericsVersion);
      return {};
    case Command::ModelInfo:
      return openbpu::runner::model_info(options);
    case Command::Infer:
      return openbpu::runner::infer(options);
    case Command::Perf:
      return openbpu::runner::perf(options);
  }
  return {};
}

int fail(const std::string& program, const Status& status) {
  const std::string where = status.where().empty() ? "" : status.where() + ": ";
  const char* stop = status.message().empty() || status.message().back() != '?' ? "." : "";
  std::fprintf(stderr, "%s: error: %s%s%s\n", program.c_str(), where.c_str(), status.message().c_str(), stop);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string program = argc > 0 ? argv[0] : "bpux-run";
  program = program.substr(program.rfind('/') + 1);
  try {
    const auto options = openbpu::runner::parse_options(std::vector<std::string>(argv + (argc > 0), argv + argc));
    if (!options.ok()) return fail(program, options.status());
    for (const std::string& note : options.value().notes)
      std::fprintf(stderr, "%s: note: %s\n", program.c_str(), note.c_str());
    const Status status = run(options.value(), program);
    if (!status.ok()) return fail(program, status);
    if (std::fflush(stdout) != 0)
      return fail(program,
                  {openbpu::Code::Io, "standard output", std::string("cannot be written: ") + std::strerror(errno)});
  } catch (const std::bad_alloc&) {
    return fail(program, {openbpu::Code::NoMemory, "", "there is not enough memory"});
  }
  return 0;
}
