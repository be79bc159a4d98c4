// Runs programs on whatever processor this is, for tests that compare machines: reads lines
//   ISA THREADS PROGRAM OUT IN...
// from standard input, IN being one file of raw bytes per input port, and writes the bytes of all output ports, one
// after another, to OUT. Answers each line with "ok ISA MACS" or, and then stops, with an error.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "engine/engine.hpp"

namespace openbpu {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

struct Job {
  std::string isa, program, out;
  int threads = 1;
  std::vector<Bytes> inputs;
};

bool parse(const std::string& line, Job* job) {
  std::istringstream words(line);
  if (!(words >> job->isa >> job->threads >> job->program >> job->out)) return false;
  for (std::string path; words >> path;) job->inputs.push_back(read(path));
  return true;
}

Status run(const Job& job) {
  auto program = container::Program::load(job.program);
  if (!program.ok()) return program.status();
  auto engine = engine::Engine::create(program.value(), {"", job.isa, job.threads, {}});
  if (!engine.ok()) return engine.status();
  const auto ports = engine.value()->inputs();
  for (std::size_t k = 0; k < ports.size() && k < job.inputs.size(); ++k)
    if (job.inputs[k].size() != ports[k].bytes) return {Code::BadArgument, "input", "has another size"};
  std::vector<Bytes> outputs;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Bytes& input : job.inputs) in.push_back(input.data());
  for (const isa::Port& port : engine.value()->outputs()) outputs.emplace_back(port.bytes);
  for (Bytes& output : outputs) out.push_back(output.data());
  if (Status status = engine.value()->run({in.data(), in.size()}, {out.data(), out.size()}); !status.ok())
    return status;
  std::ofstream file(job.out, std::ios::binary);
  for (const Bytes& output : outputs)
    file.write(reinterpret_cast<const char*>(output.data()), static_cast<std::streamsize>(output.size()));
  if (!file.flush()) return {Code::Io, job.out, "cannot be written"};
  std::printf("ok %s %llu\n", engine.value()->isa(),
              static_cast<unsigned long long>(program.value()->entries()[0].macs));
  return {};
}

}  // namespace
}  // namespace openbpu

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    openbpu::Job job;
    if (!openbpu::parse(line, &job)) {
      std::printf("not a job: %s\n", line.c_str());
      return 1;
    }
    if (const openbpu::Status status = openbpu::run(job); !status.ok()) {
      std::printf("%s: %s: %s\n", line.c_str(), status.where().c_str(), status.message().c_str());
      return 1;
    }
  }
  return 0;
}
