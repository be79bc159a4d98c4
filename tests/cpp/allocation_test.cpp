// A run allocates nothing: every way into glibc's allocator is counted while a test looks.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>

#include "engine/engine.hpp"
#include "hbdnn_models.hpp"
#include "openbpu/runtime.hpp"
#include "program_builder.hpp"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {
std::atomic<bool> looking{false};
std::atomic<int> allocations{0};
void count() {
  if (looking.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t n, std::size_t size) {
  count();
  return __libc_calloc(n, size);
}
void* realloc(void* old, std::size_t size) {
  count();
  return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
}

namespace openbpu::engine {
namespace {

TEST(Allocation, NoneInARun) {
  testing::ProgramBuilder b;
  std::mt19937 random(3);
  constexpr testing::Extents kShape{1, 32, 32, 32};
  constexpr std::size_t kBytes = 32 * 32 * 32;
  const std::uint8_t x = b.input(kShape), y = b.output(kShape);
  const std::uint16_t a = b.surface(isa::Region::Ddr, kShape), r = b.surface(isa::Region::Ddr, kShape, kBytes);
  const std::uint16_t weights = b.conv_weights(32, 9, 32, random), table = b.rq8(32, random);
  isa::ConvAux geometry{3, 3, 1, 1, 1, 1, 1, 1, 1, 0};
  const std::uint32_t aux = b.aux(geometry);
  b.move(isa::Op::COPY, a, b.surface(isa::Region::In, kShape, 0, x));
  b.emit(isa::Op::CONV2D, [&](isa::Instruction& i) {
    i.in0 = a, i.out = r, i.weight = weights, i.table = table, i.aux = aux, i.lo = -128, i.hi = 127;
  });
  b.move(isa::Op::COPY, b.surface(isa::Region::Out, kShape, 0, y), r);
  const auto program = b.finish(2 * kBytes);
  std::vector<std::uint8_t> input(kBytes, 1), output(kBytes);
  const void* inputs[] = {input.data()};
  void* outputs[] = {output.data()};
  for (const std::string& isa : available_isas())
    for (int threads : {1, 2, 3}) {
      auto made = Engine::create(program, {"", isa, threads, {}});
      ASSERT_TRUE(made.ok());
      ASSERT_TRUE(made.value()->run(inputs, outputs).ok());
      allocations.store(0);
      looking.store(true);
      bool ok = true;
      for (int repeat = 0; repeat < 3; ++repeat) {
        ok = ok && made.value()->run(inputs, outputs).ok();
        ok = ok && made.value()->run_profiled(inputs, outputs).ok();
      }
      looking.store(false);
      EXPECT_TRUE(ok);
      EXPECT_EQ(allocations.load(), 0) << isa << ", " << threads << " threads";
    }
}

// The documented calls, as an application makes them for every frame.
TEST(Allocation, NoneInTheCallsOncePastTheFirst) {
  const testing::LoadedModel model(testing::chain_file(5));
  testing::Buffers buffers(model);
  const auto frame = [&] {
    hbUCPTaskHandle_t task = nullptr;
    bool ok = hbUCPMemFlush(&buffers.inputs[0].sysMem, HB_SYS_MEM_CACHE_CLEAN) == 0;
    ok = ok && hbDNNInferV2(&task, buffers.outputs.data(), buffers.inputs.data(), model.model) == 0;
    ok = ok && testing::run(task) == 0 && hbUCPReleaseTask(task) == 0;
    ok = ok && hbUCPMemFlush(&buffers.outputs[0].sysMem, HB_SYS_MEM_CACHE_INVALIDATE) == 0;
    return ok && hbDNNInferV2(nullptr, buffers.outputs.data(), buffers.inputs.data(), model.model) == 0;
  };
  ASSERT_TRUE(frame() && frame());
  allocations.store(0);
  looking.store(true);
  bool ok = true;
  for (int repeat = 0; repeat < 50; ++repeat) ok = ok && frame();
  looking.store(false);
  EXPECT_TRUE(ok);
  EXPECT_EQ(allocations.load(), 0);
}

// The same of the C++ library: a task that is submitted again, with and without a schedule, and a run beside it.
TEST(Allocation, NoneInATaskOncePastTheFirst) {
  const testing::Bytes file = testing::chain_file(5);
  const auto program = runtime::Program::from_memory(file.data(), file.size());
  ASSERT_TRUE(program.ok());
  auto engine = runtime::Engine::create(program.value(), {});
  ASSERT_TRUE(engine.ok());
  std::vector<std::uint8_t> input(engine.value().inputs()[0].bytes, 7), output(input.size());
  const void* inputs[] = {input.data()};
  void* outputs[] = {output.data()};
  std::atomic<int> calls{0};
  runtime::Task task;
  ASSERT_TRUE(
      task.on_done([](void* count, const runtime::Status&) { ++*static_cast<std::atomic<int>*>(count); }, &calls).ok());
  const auto frame = [&] {
    bool ok = task.submit(engine.value(), inputs, outputs).ok() && task.wait().ok();
    runtime::Schedule schedule;
    schedule.priority = 255;
    schedule.timeout = std::chrono::hours(1);
    ok = ok && task.submit(engine.value(), inputs, outputs, schedule).ok() && task.wait(std::chrono::hours(1)).ok();
    runtime::RunOptions options;
    options.timeout = std::chrono::hours(1);
    return ok && engine.value().run(inputs, outputs, options).ok();
  };
  ASSERT_TRUE(frame() && frame());
  allocations.store(0);
  looking.store(true);
  bool ok = true;
  for (int repeat = 0; repeat < 50; ++repeat) ok = ok && frame();
  looking.store(false);
  EXPECT_TRUE(ok);
  EXPECT_EQ(calls, 104);
  EXPECT_EQ(output, input);
  EXPECT_EQ(allocations.load(), 0);
}

TEST(Allocation, TheCounterCounts) {
  allocations.store(0);
  looking.store(true);
  std::vector<int> some(100);
  std::free(std::aligned_alloc(64, 64));
  looking.store(false);
  EXPECT_GE(allocations.load(), 2) << some.size();
}

}  // namespace
}  // namespace openbpu::engine

#endif
