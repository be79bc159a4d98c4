// The public C++ library on the golden file: loading, arenas, tracing, cancellation, tasks, and what it refuses.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "golden.hpp"
#include "openbpu/runtime.hpp"
#include "program_builder.hpp"

namespace openbpu::runtime {
namespace {

using namespace std::chrono_literals;

Program golden() {
  Result<Program> program = Program::from_file(OPENBPU_GOLDEN "/v1.bpux");
  EXPECT_TRUE(program.ok()) << program.status().where() << ": " << program.status().message();
  return program.value();
}

// Buffers of an engine's ports; inputs hold a pattern.
struct Buffers {
  explicit Buffers(const Engine& engine) {
    for (const Port& port : engine.inputs()) {
      inputs.emplace_back(port.bytes);
      for (std::size_t k = 0; k < port.bytes; ++k)
        inputs.back()[k] = static_cast<std::uint8_t>(port.type == DataType::Bool ? k % 2 : k % 29);
    }
    for (const Port& port : engine.outputs()) outputs.emplace_back(port.bytes);
    for (auto& bytes : inputs) from.push_back(bytes.data());
    for (auto& bytes : outputs) to.push_back(bytes.data());
  }
  std::vector<std::vector<std::uint8_t>> inputs, outputs;
  std::vector<const void*> from;
  std::vector<void*> to;
};

// Copies x to y through DDR, `copies` times, so that there are boundaries; a model that can be given to the library.
Program chain(int copies) {
  testing::ProgramBuilder b;
  constexpr testing::Extents kShape{1, 8, 8, 16};
  const std::uint8_t x = b.input(kShape), y = b.output(kShape);
  std::uint16_t last = b.surface(isa::Region::In, kShape, 0, x);
  for (int k = 0; k < copies; ++k) {
    const std::uint16_t next = b.surface(isa::Region::Ddr, kShape, static_cast<std::uint64_t>(k % 2) * 1024);
    b.move(isa::Op::COPY, next, last);
    last = next;
  }
  b.move(isa::Op::COPY, b.surface(isa::Region::Out, kShape, 0, y), last);
  const auto built = b.finish(2048);
  const auto file = built->file();
  Result<Program> program = Program::from_memory(file.data(), file.size());
  EXPECT_TRUE(program.ok());
  return program.value();
}

TEST(RuntimeApi, ThreeWaysToLoadGiveTheSameBytes) {
  const auto bytes = testing::golden_file();
  const Result<Program> programs[] = {Program::from_file(OPENBPU_GOLDEN "/v1.bpux"),
                                      Program::map_file(OPENBPU_GOLDEN "/v1.bpux"),
                                      Program::from_memory(bytes.data(), bytes.size())};
  std::vector<std::vector<std::uint8_t>> first;
  for (const Result<Program>& program : programs) {
    ASSERT_TRUE(program.ok()) << program.status().message();
    EXPECT_EQ(program.value().file_bytes(), bytes.size());
    Result<Engine> engine = Engine::create(program.value());
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    Buffers buffers(engine.value());
    const Status status = engine.value().run(buffers.from, buffers.to);
    EXPECT_TRUE(status.ok() || status.code() == ErrorCode::Trap) << status.message();
    if (first.empty()) first = buffers.outputs;
    EXPECT_EQ(buffers.outputs, first);
  }
}

TEST(RuntimeApi, ModelsAndPorts) {
  const Program program = golden();
  ASSERT_GE(program.model_count(), 1u);
  const std::string_view name = program.model_name(0);
  EXPECT_FALSE(name.empty());
  EXPECT_TRUE(program.model_name(program.model_count()).empty());
  ASSERT_TRUE(program.inputs().ok());
  ASSERT_TRUE(program.inputs(name).ok());
  EXPECT_EQ(program.inputs().value().data(), program.inputs(name).value().data());
  for (const Port& port : program.outputs().value()) {
    std::size_t bytes = size_of(port.type);
    for (std::uint32_t k = 0; k < port.rank; ++k) bytes *= port.shape[k];
    EXPECT_EQ(port.bytes, bytes) << port.name;
  }
  EXPECT_EQ(program.inputs("nobody").status().code(), ErrorCode::BadArgument);
  EXPECT_FALSE(program.metadata().empty());
}

TEST(RuntimeApi, RefusesWhatIsNoFileOfOurs) {
  EXPECT_EQ(Program::from_file("/nowhere/at/all.bpux").status().code(), ErrorCode::Io);
  EXPECT_EQ(Program::map_file("/nowhere/at/all.bpux").status().code(), ErrorCode::Io);
  EXPECT_EQ(Program::map_file("/").status().code(), ErrorCode::Io);
  EXPECT_EQ(Program::from_memory(nullptr, 7).status().code(), ErrorCode::BadArgument);
  EXPECT_EQ(Program::from_memory(nullptr, 0).status().code(), ErrorCode::Corrupt);
  auto bytes = testing::golden_file();
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_EQ(Program::from_memory(bytes.data(), bytes.size()).status().code(), ErrorCode::Corrupt);
  const std::string path = ::testing::TempDir() + "damaged.bpux";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  EXPECT_EQ(Program::map_file(path).status().code(), ErrorCode::Corrupt);
  std::ofstream(path, std::ios::binary | std::ios::trunc).flush();
  EXPECT_EQ(Program::map_file(path).status().code(), ErrorCode::Corrupt);
  EXPECT_EQ(Engine::create(Program()).status().code(), ErrorCode::BadArgument);
  EXPECT_EQ(Engine::required_memory(Program()).status().code(), ErrorCode::BadArgument);
}

TEST(RuntimeApi, TheArenaIsTheCallers) {
  const Program program = chain(5);
  EngineOptions options;
  const Result<std::size_t> needed = Engine::required_memory(program, options);
  ASSERT_TRUE(needed.ok());
  EXPECT_GE(needed.value(), 2048u);
  const std::unique_ptr<void, void (*)(void*)> arena(std::aligned_alloc(64, needed.value() + 64), std::free);
  options.arena = arena.get();
  options.arena_bytes = needed.value() - 1;
  EXPECT_EQ(Engine::create(program, options).status().code(), ErrorCode::BadArgument) << "too small";
  options.arena = static_cast<char*>(arena.get()) + 1;
  options.arena_bytes = needed.value();
  EXPECT_EQ(Engine::create(program, options).status().code(), ErrorCode::BadArgument) << "not aligned";
  options.arena = arena.get();
  Result<Engine> one = Engine::create(program, options), two = Engine::create(program, options);
  ASSERT_TRUE(one.ok() && two.ok()) << "engines that take turns share an arena";
  for (int repeat = 0; repeat < 2; ++repeat)
    for (Engine* engine : {&one.value(), &two.value()}) {
      Buffers buffers(*engine);
      ASSERT_TRUE(engine->run(buffers.from, buffers.to).ok());
      EXPECT_EQ(buffers.outputs, buffers.inputs);
    }
}

TEST(RuntimeApi, TheTraceCoversEveryInstruction) {
  const Program program = golden();
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  std::vector<InstructionEvent> events;
  RunOptions options;
  options.trace = [](void* context, const InstructionEvent& event) {
    static_cast<std::vector<InstructionEvent>*>(context)->push_back(event);
  };
  options.trace_context = &events;
  (void)engine.value().run(buffers.from, buffers.to, options);
  ASSERT_GT(events.size(), 10u);
  for (std::size_t k = 0; k < events.size(); ++k) {
    EXPECT_GE(events[k].count, 1u);
    EXPECT_LE(events[k].start_nanoseconds, events[k].end_nanoseconds);
    EXPECT_NE(events[k].operation, nullptr);
    if (k > 0) {
      EXPECT_GT(events[k].instruction, events[k - 1].instruction);
      EXPECT_GE(events[k].start_nanoseconds, events[k - 1].end_nanoseconds);
    }
  }
}

TEST(RuntimeApi, CancelAndTimeout) {
  const Program program = chain(20);
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  std::atomic<bool> cancel{true};
  RunOptions options;
  options.cancel = &cancel;
  EXPECT_EQ(engine.value().run(buffers.from, buffers.to, options).code(), ErrorCode::Cancelled);
  cancel = false;
  struct Stop {
    std::atomic<bool>* cancel;
    int seen = 0;
  } stop{&cancel};
  options.trace = [](void* context, const InstructionEvent&) {
    Stop& self = *static_cast<Stop*>(context);
    if (++self.seen == 3) *self.cancel = true;
  };
  options.trace_context = &stop;
  EXPECT_EQ(engine.value().run(buffers.from, buffers.to, options).code(), ErrorCode::Cancelled);
  EXPECT_EQ(stop.seen, 3) << "at the next instruction";
  options = {};
  options.timeout = 1ms;
  options.trace = [](void*, const InstructionEvent&) { std::this_thread::sleep_for(2ms); };
  EXPECT_EQ(engine.value().run(buffers.from, buffers.to, options).code(), ErrorCode::Timeout);
  EXPECT_TRUE(engine.value().run(buffers.from, buffers.to).ok());
  EXPECT_EQ(buffers.outputs, buffers.inputs);
}

TEST(RuntimeApi, TimeOutsOutOfRange) {
  const Program program = chain(2);
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  RunOptions options;
  options.timeout = std::chrono::milliseconds::max();
  EXPECT_TRUE(engine.value().run(buffers.from, buffers.to, options).ok()) << "never, rather than an overflow";
  options.timeout = -1ms;
  EXPECT_EQ(engine.value().run(buffers.from, buffers.to, options).code(), ErrorCode::BadArgument);
  Task task;
  Schedule schedule;
  schedule.timeout = std::chrono::milliseconds::max();
  ASSERT_TRUE(task.submit(engine.value(), buffers.from, buffers.to, schedule).ok());
  EXPECT_TRUE(task.wait(std::chrono::milliseconds::max()).ok());
  EXPECT_EQ(task.wait(-1ms).code(), ErrorCode::BadArgument);
}

// The numbers of the file and their names here.
TEST(RuntimeApi, EveryTypeOfPortsHasAName) {
  const DataType types[] = {DataType::Int8,    DataType::UInt8,  DataType::Int16,   DataType::Int32,
                            DataType::Float32, DataType::Int64,  DataType::Bool,    DataType::UInt16,
                            DataType::UInt32,  DataType::UInt64, DataType::Float16, DataType::Float64};
  const std::size_t sizes[] = {1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 2, 8};
  for (std::size_t k = 0; k < std::size(types); ++k) {
    EXPECT_EQ(static_cast<std::size_t>(types[k]), k + 1);
    EXPECT_EQ(size_of(types[k]), sizes[k]);
  }
  // What comes behind the last is no type of ports: an enumerator that ports may have is missing here.
  EXPECT_EQ(static_cast<std::size_t>(isa::DType::Bf16), std::size(types) + 1);
}

TEST(RuntimeApi, OneRunAtATime) {
  const Program program = chain(2);
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  struct Again {
    Engine* engine;
    Buffers* buffers;
    ErrorCode code = ErrorCode::Ok;
  } again{&engine.value(), &buffers};
  RunOptions options;
  options.trace = [](void* context, const InstructionEvent&) {
    Again& self = *static_cast<Again*>(context);
    self.code = self.engine->run(self.buffers->from, self.buffers->to).code();
  };
  options.trace_context = &again;
  EXPECT_TRUE(engine.value().run(buffers.from, buffers.to, options).ok());
  EXPECT_EQ(again.code, ErrorCode::BadArgument);
}

TEST(RuntimeApi, WrongRuns) {
  const Program program = chain(1);
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  const void* null_input[] = {nullptr};
  EXPECT_EQ(engine.value().run({}, buffers.to).code(), ErrorCode::BadArgument);
  EXPECT_EQ(engine.value().run(buffers.from, {}).code(), ErrorCode::BadArgument);
  EXPECT_EQ(engine.value().run(null_input, buffers.to).code(), ErrorCode::BadArgument);
  EngineOptions options;
  options.isa = "sse9";
  EXPECT_EQ(Engine::create(program, options).status().code(), ErrorCode::Unsupported);
  Engine moved = std::move(engine.value());
  EXPECT_EQ(engine.value().run(buffers.from, buffers.to).code(), ErrorCode::BadArgument);
  EXPECT_TRUE(moved.run(buffers.from, buffers.to).ok());
}

TEST(RuntimeApi, Tasks) {
  const Program program = chain(6);
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  Task task;
  EXPECT_EQ(task.wait().code(), ErrorCode::BadArgument);
  int calls = 0;
  ASSERT_TRUE(
      task.on_done([](void* count, const Status& status) { *static_cast<int*>(count) += status.ok(); }, &calls).ok());
  for (int priority : {0, 253, 254, 255}) {
    for (auto& bytes : buffers.outputs) std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
    ASSERT_TRUE(task.submit(engine.value(), buffers.from, buffers.to, {priority}).ok());
    EXPECT_TRUE(task.wait().ok());
    EXPECT_EQ(buffers.outputs, buffers.inputs);
  }
  EXPECT_EQ(calls, 4);
  EXPECT_TRUE(task.done());
  EXPECT_EQ(task.submit(engine.value(), buffers.from, buffers.to, {256}).code(), ErrorCode::BadArgument);
  ASSERT_TRUE(task.submit(engine.value(), {}, buffers.to).ok());
  EXPECT_EQ(task.wait().code(), ErrorCode::BadArgument) << "the status of the run";
  EXPECT_EQ(task.submit(Work{}).code(), ErrorCode::BadArgument);
  Task moved = std::move(task);
  EXPECT_TRUE(moved.submit(engine.value(), buffers.from, buffers.to).ok());
  EXPECT_TRUE(moved.wait().ok());
  EXPECT_EQ(task.wait().code(), ErrorCode::NoMemory);
}

// Each call takes effect whole or says that another is under way.
TEST(RuntimeApi, OneTaskFromSeveralThreads) {
  const Program program = chain(3);
  Result<Engine> engine = Engine::create(program);
  ASSERT_TRUE(engine.ok());
  Buffers buffers(engine.value());
  Task task;
  std::atomic<int> runs{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (int k = 0; k < 300; ++k) {
        const Status status = task.submit(engine.value(), buffers.from, buffers.to);
        if (status.ok()) ++runs;
        EXPECT_TRUE(status.ok() || status.code() == ErrorCode::BadArgument);
        (void)task.done();
        (void)task.wait();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(task.wait().ok());
  EXPECT_GE(runs, 300);
  EXPECT_EQ(buffers.outputs, buffers.inputs);
}

#if !defined(OPENBPU_NO_THREADS) && !defined(__SANITIZE_THREAD__)  // which supports no threads after fork

TEST(RuntimeApi, AnEngineThatWasInARunWhenTheProcessForked) {
  const Program program = chain(2);
  Result<Engine> engine = Engine::create(program), idle = Engine::create(program);
  ASSERT_TRUE(engine.ok() && idle.ok());
  Buffers buffers(engine.value()), own(engine.value());
  struct Pause {
    std::atomic<bool> inside{false}, go_on{false};
  } pause;
  RunOptions options;
  options.trace = [](void* context, const InstructionEvent&) {
    Pause& self = *static_cast<Pause*>(context);
    self.inside = true;
    while (!self.go_on) std::this_thread::sleep_for(1ms);
  };
  options.trace_context = &pause;
  Status status;
  std::thread runner([&] { status = engine.value().run(buffers.from, buffers.to, options); });
  while (!pause.inside) std::this_thread::sleep_for(1ms);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    const Status lost = engine.value().run(own.from, own.to);
    const bool clear = lost.code() == ErrorCode::Cancelled && lost.message().find("forked") != std::string::npos;
    const bool others = idle.value().run(own.from, own.to).ok() && own.outputs == own.inputs;
    Result<Engine> anew = Engine::create(program);
    _exit(clear && others && anew.ok() && anew.value().run(own.from, own.to).ok() ? 0 : 1);
  }
  int ended = 0;
  EXPECT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0) << ended;
  pause.go_on = true;
  runner.join();
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(buffers.outputs, buffers.inputs);
}

#endif

TEST(RuntimeApi, Names) {
  EXPECT_STREQ(name_of(ErrorCode::Ok), "Ok");
  EXPECT_STREQ(name_of(ErrorCode::Internal), "Internal");
  EXPECT_STREQ(name_of(static_cast<ErrorCode>(200)), "unknown");
  EXPECT_STREQ(version(), OPENBPU_VERSION);
}

}  // namespace
}  // namespace openbpu::runtime
