// Runs a model as an embedded test harness does: all memory is taken before the first run, nothing throws, and every
// error is a message.
//
//   harness model.bpux [input.bin ...]     writes <output name>.bin beside itself; inputs that are not given are zeros
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "openbpu/runtime.hpp"

namespace runtime = openbpu::runtime;

namespace {

using Buffer = std::vector<unsigned char>;

bool read(const char* path, Buffer& buffer) {
  std::FILE* file = std::fopen(path, "rb");
  const bool whole =
      file && std::fread(buffer.data(), 1, buffer.size(), file) == buffer.size() && std::fgetc(file) == EOF;
  if (file) std::fclose(file);
  if (!whole) std::fprintf(stderr, "%s: must be a file of %zu bytes\n", path, buffer.size());
  return whole;
}

bool write(const std::string& path, const Buffer& buffer) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool whole = file && std::fwrite(buffer.data(), 1, buffer.size(), file) == buffer.size();
  if ((file && std::fclose(file) != 0) || !whole) {
    std::fprintf(stderr, "%s: cannot be written\n", path.c_str());
    return false;
  }
  return true;
}

int fail(const runtime::Status& status) {
  std::fprintf(stderr, "%s: %s: %s\n", runtime::name_of(status.code()), status.where().c_str(),
               status.message().c_str());
  return 1;
}

void print(void*, const runtime::InstructionEvent& event) {
  std::printf("%5u %-12s %-24s %8.1f us\n", event.instruction, event.operation, event.kernel,
              static_cast<double>(event.end_nanoseconds - event.start_nanoseconds) / 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: harness model.bpux [input.bin ...]\n"), 2;
  const runtime::Result<runtime::Program> program = runtime::Program::from_file(argv[1]);
  if (!program.ok()) return fail(program.status());

  runtime::EngineOptions options;
  const runtime::Result<std::size_t> needed = runtime::Engine::required_memory(program.value(), options);
  if (!needed.ok()) return fail(needed.status());
  const std::unique_ptr<void, void (*)(void*)> arena(std::aligned_alloc(64, needed.value()), std::free);
  if (!arena) return std::fprintf(stderr, "no memory for an arena of %zu bytes\n", needed.value()), 1;
  options.arena = arena.get();
  options.arena_bytes = needed.value();
  runtime::Result<runtime::Engine> engine = runtime::Engine::create(program.value(), options);
  if (!engine.ok()) return fail(engine.status());

  std::vector<Buffer> buffers;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  buffers.reserve(engine.value().inputs().size() + engine.value().outputs().size());
  int argument = 2;
  for (const runtime::Port& port : engine.value().inputs()) {
    buffers.emplace_back(port.bytes);
    if (argument < argc && !read(argv[argument++], buffers.back())) return 1;
    inputs.push_back(buffers.back().data());
  }
  for (const runtime::Port& port : engine.value().outputs()) {
    buffers.emplace_back(port.bytes);
    outputs.push_back(buffers.back().data());
  }

  runtime::RunOptions run;
  run.trace = print;
  const runtime::Status status = engine.value().run(inputs, outputs, run);
  if (!status.ok()) return fail(status);
  for (std::size_t k = 0; k < outputs.size(); ++k)
    if (!write(std::string(engine.value().outputs()[k].name) + ".bin", buffers[inputs.size() + k])) return 1;
  return 0;
}
