// Four threads, three models, random priorities, cores, sub-tasks and ways to wait, for OPENBPU_STRESS_SECONDS (1):
// every result must have the bytes of the first run. Meant for the thread and address sanitizers.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>

#include "hbdnn_models.hpp"

namespace openbpu::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kThreads = 4;
constexpr std::size_t kModels = 3;

// Convolutions 3 x 3 one after the other, int8, square.
Bytes convolutions(int count, std::uint32_t size, std::uint32_t channels) {
  ProgramBuilder b;
  std::mt19937 random(static_cast<unsigned>(count));
  const Extents shape{1, size, size, channels};
  const std::uint64_t bytes = std::uint64_t{size} * size * channels;
  const std::uint8_t x = b.input(shape), y = b.output(shape);
  std::uint16_t last = b.surface(isa::Region::Ddr, shape);
  b.move(isa::Op::COPY, last, b.surface(isa::Region::In, shape, 0, x));
  isa::ConvAux geometry{3, 3, 1, 1, 1, 1, 1, 1, 1, 0};
  const std::uint32_t aux = b.aux(geometry);
  for (int k = 0; k < count; ++k) {
    const std::uint16_t next = b.surface(isa::Region::Ddr, shape, static_cast<std::uint64_t>((k + 1) % 2) * bytes);
    const std::uint16_t weights = b.conv_weights(channels, 9, channels, random), table = b.rq8(channels, random);
    b.emit(isa::Op::CONV2D, [&](isa::Instruction& i) {
      i.in0 = last, i.out = next, i.weight = weights, i.table = table, i.aux = aux, i.lo = -128, i.hi = 127;
    });
    last = next;
  }
  b.move(isa::Op::COPY, b.surface(isa::Region::Out, shape, 0, y), last);
  return to_vector(b.finish(2 * bytes)->file());
}

class Caller {
 public:
  Caller(const std::unique_ptr<LoadedModel>* models, unsigned seed) : models_(models), random_(seed) {
    for (std::size_t m = 0; m < kModels; ++m) {
      buffers_[m] = std::make_unique<Buffers>(*models[m], static_cast<int>(seed));
      EXPECT_EQ(infer(nullptr, m), 0);
      expected_[m] = output(m);
    }
  }

  void run_until(Clock::time_point end) {
    while (Clock::now() < end && !::testing::Test::HasFailure()) {
      const std::size_t first = random_() % kModels;
      if (random_() % 8 == 0)
        ASSERT_EQ(infer(nullptr, first), 0);
      else
        run_task(first);
      ++runs_;
    }
  }

  int runs() const { return runs_; }

 private:
  std::int32_t infer(hbUCPTaskHandle_t* task, std::size_t model) {
    Buffers& b = *buffers_[model];
    return hbDNNInferV2(task, b.outputs.data(), b.inputs.data(), models_[model]->model);
  }

  Bytes output(std::size_t model) const {
    const hbUCPSysMem& memory = buffers_[model]->outputs[0].sysMem;
    const auto* bytes = static_cast<const std::uint8_t*>(memory.virAddr);
    return {bytes, bytes + memory.memSize};
  }

  void run_task(std::size_t first) {
    hbUCPTaskHandle_t task = nullptr;
    const std::size_t subtasks = 1 + random_() % kModels;
    for (std::size_t k = 0; k < subtasks; ++k) {
      const std::size_t model = (first + k) % kModels;
      std::memset(buffers_[model]->outputs[0].sysMem.virAddr, 0, buffers_[model]->outputs[0].sysMem.memSize);
      ASSERT_EQ(infer(&task, model), 0);
    }
    const bool calls_back = random_() % 2 == 0;
    called_ = false;
    if (calls_back) {
      ASSERT_EQ(hbUCPSetTaskDoneCb(task, done, this), 0);
    }
    constexpr std::uint64_t kBackends[] = {HB_UCP_CORE_ANY,   HB_UCP_BPU_CORE_ANY,
                                           HB_UCP_BPU_CORE_0, HB_UCP_BPU_CORE_1,
                                           HB_UCP_BPU_CORE_3, HB_UCP_BPU_CORE_0 | HB_UCP_BPU_CORE_2};
    hbUCPSchedParam param;
    HB_UCP_INITIALIZE_SCHED_PARAM(&param);
    param.priority = static_cast<std::int32_t>(random_() % 256);
    param.customId = static_cast<std::int64_t>(random_() % 5);
    param.backend = kBackends[random_() % std::size(kBackends)];
    ASSERT_EQ(hbUCPSubmitTask(task, &param), 0);
    await(task);
    EXPECT_EQ(called_, calls_back);
    for (std::size_t k = 0; k < subtasks; ++k) {
      const std::size_t model = (first + k) % kModels;
      EXPECT_EQ(output(model), expected_[model]);
    }
    ASSERT_EQ(hbUCPReleaseTask(task), 0);
    EXPECT_EQ(hbUCPReleaseTask(task), HB_UCP_TASK_HANDLE_INVALID);
  }

  void await(hbUCPTaskHandle_t task) {
    const auto timeout = static_cast<std::int32_t>(random_() % 3);
    std::int32_t status = HB_UCP_TASK_TIMEOUT;
    while ((status = hbUCPWaitTaskDone(task, timeout)) == HB_UCP_TASK_TIMEOUT) {
      const std::int32_t released = hbUCPFree(&buffers_[0]->inputs[0].sysMem);
      ASSERT_TRUE(released == HB_UCP_MEM_FREE_FAILED || released == 0);
      if (released == 0) {  // the task has just ended, or has no part in this model
        renew(*buffers_[0]);
      }
    }
    ASSERT_EQ(status, 0);
  }

  // New memory in the place of an input that was freed.
  void renew(Buffers& buffers) {
    hbUCPSysMem& memory = buffers.inputs[0].sysMem;
    const std::uint64_t size = memory.memSize;
    ASSERT_EQ(hbUCPMallocCached(&memory, size, 0), 0);
    buffers.fill(buffers.inputs[0]);
  }

  static void done(hbUCPTaskHandle_t, std::int32_t status, void* self) {
    EXPECT_EQ(status, 0);
    static_cast<Caller*>(self)->called_ = true;
  }

  const std::unique_ptr<LoadedModel>* models_;
  std::mt19937 random_;
  std::unique_ptr<Buffers> buffers_[kModels];
  Bytes expected_[kModels];
  std::atomic<bool> called_{false};
  int runs_ = 0;
};

TEST(Stress, ThreadsModelsAndPriorities) {
  setenv("HB_UCP_LOG_LEVEL", "6", 1);
  const char* wish = std::getenv("OPENBPU_STRESS_SECONDS");
  const auto end = Clock::now() + std::chrono::seconds(wish ? std::atoi(wish) : 1);
  const std::unique_ptr<LoadedModel> models[kModels] = {std::make_unique<LoadedModel>(chain_file(40)),
                                                        std::make_unique<LoadedModel>(convolutions(3, 16, 16)),
                                                        std::make_unique<LoadedModel>(convolutions(8, 20, 32))};
  std::atomic<int> runs{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      Caller caller(models, 17 * t + 1);
      caller.run_until(end);
      runs += caller.runs();
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(runs, kThreads);
  RecordProperty("runs", runs);
  std::printf("%d tasks\n", runs.load());
}

}  // namespace
}  // namespace openbpu::testing
