// The C calls: results, sub-tasks, strides, call-backs, and a table of everything that can be called wrongly.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "golden.hpp"
#include "hbdnn_models.hpp"
#include "hobot/dnn/hb_dnn.h"

namespace openbpu::testing {
namespace {

using namespace std::chrono_literals;

const bool kQuiet = setenv("HB_UCP_LOG_LEVEL", "6", 1) == 0;

struct HbDnn : ::testing::Test {
  LoadedModel copy{chain_file(4)};
};

TEST_F(HbDnn, NamesCountsAndProperties) {
  ASSERT_TRUE(kQuiet);
  const char** names = nullptr;
  std::int32_t count = 0;
  ASSERT_EQ(hbDNNGetModelNameList(&names, &count, copy.packed), 0);
  ASSERT_EQ(count, 1);
  EXPECT_STREQ(names[0], "net");
  ASSERT_EQ(hbDNNGetInputCount(&count, copy.model), 0);
  EXPECT_EQ(count, 1);
  const char* name = nullptr;
  ASSERT_EQ(hbDNNGetOutputName(&name, copy.model, 0), 0);
  EXPECT_STREQ(name, "y0");
  hbDNNTensorProperties p{};
  ASSERT_EQ(hbDNNGetInputTensorProperties(&p, copy.model, 0), 0);
  EXPECT_EQ(p.validShape.numDimensions, 4);
  EXPECT_EQ(p.tensorType, HB_DNN_TENSOR_TYPE_S8);
  EXPECT_EQ(p.quantiType, NONE);
  EXPECT_EQ(p.alignedByteSize, p.stride[0] * p.validShape.dimensionSize[0]);
  EXPECT_EQ(p.stride[3], 1);
  EXPECT_EQ(p.stride[2], 16);
  const char* text = nullptr;
  std::uint32_t size = 0;
  std::int32_t type = -1;
  ASSERT_EQ(hbDNNGetInputDesc(&text, &size, &type, copy.model, 0), 0);
  EXPECT_EQ(type, HB_DNN_DESC_TYPE_STRING);
  EXPECT_EQ(std::string(text, size), "{\"name\": \"x0\", \"shape\": [1, 8, 8, 16], \"scale\": 0, \"zero_point\": 0}");
  ASSERT_EQ(hbDNNGetModelDesc(&text, &size, &type, copy.model), 0);
  EXPECT_EQ(type, HB_DNN_DESC_TYPE_UNKNOWN) << "the file has no metadata";
  ASSERT_EQ(hbDNNGetHBMDesc(&text, &size, &type, copy.packed, 0), 0);
  ASSERT_EQ(hbDNNGetCompileBpuCoreNum(&count, copy.model), 0);
  EXPECT_EQ(count, 1);
}

TEST_F(HbDnn, EveryTypeOfTheGoldenFileIsPublished) {
  const LoadedModel golden{golden_file()};
  for (int direction = 0; direction < 2; ++direction) {
    std::int32_t count = 0;
    ASSERT_EQ((direction ? hbDNNGetOutputCount : hbDNNGetInputCount)(&count, golden.model), 0);
    ASSERT_GT(count, 0);
    for (std::int32_t k = 0; k < count; ++k) {
      hbDNNTensorProperties p{};
      ASSERT_EQ((direction ? hbDNNGetOutputTensorProperties : hbDNNGetInputTensorProperties)(&p, golden.model, k), 0);
      EXPECT_LT(p.tensorType, HB_DNN_TENSOR_TYPE_MAX);
      EXPECT_EQ(p.scale.scaleLen, p.quantiType == SCALE ? 1 : 0);
      if (p.quantiType == SCALE) {
        EXPECT_GT(p.scale.scaleData[0], 0);
      }
    }
  }
  const char* text = nullptr;
  std::uint32_t size = 0;
  std::int32_t type = -1;
  ASSERT_EQ(hbDNNGetModelDesc(&text, &size, &type, golden.model), 0);
  EXPECT_EQ(type, HB_DNN_DESC_TYPE_STRING);
  EXPECT_EQ(text[size], '\0');
}

// Those that only operators of the CPU have among them.
TEST_F(HbDnn, EveryTypeOfPortsIsPublished) {
  const std::pair<isa::DType, std::int32_t> types[] = {
      {isa::DType::I8, HB_DNN_TENSOR_TYPE_S8},   {isa::DType::U8, HB_DNN_TENSOR_TYPE_U8},
      {isa::DType::I16, HB_DNN_TENSOR_TYPE_S16}, {isa::DType::U16, HB_DNN_TENSOR_TYPE_U16},
      {isa::DType::I32, HB_DNN_TENSOR_TYPE_S32}, {isa::DType::U32, HB_DNN_TENSOR_TYPE_U32},
      {isa::DType::I64, HB_DNN_TENSOR_TYPE_S64}, {isa::DType::U64, HB_DNN_TENSOR_TYPE_U64},
      {isa::DType::F16, HB_DNN_TENSOR_TYPE_F16}, {isa::DType::F32, HB_DNN_TENSOR_TYPE_F32},
      {isa::DType::F64, HB_DNN_TENSOR_TYPE_F64}, {isa::DType::Bool, HB_DNN_TENSOR_TYPE_BOOL8}};
  for (const auto& [type, published] : types) {
    const LoadedModel model{unused_port_file(type)};
    hbDNNTensorProperties p{};
    ASSERT_EQ(hbDNNGetInputTensorProperties(&p, model.model, 0), 0);
    EXPECT_EQ(p.tensorType, published);
    EXPECT_EQ(p.stride[3], static_cast<std::int64_t>(isa::element_size(type)));
  }
}

TEST_F(HbDnn, TheCanonicalOrder) {
  Buffers buffers(copy);
  hbUCPTaskHandle_t task = nullptr;
  ASSERT_EQ(hbDNNInferV2(&task, buffers.outputs.data(), buffers.inputs.data(), copy.model), 0);
  ASSERT_NE(task, nullptr);
  hbUCPSchedParam param;
  HB_UCP_INITIALIZE_SCHED_PARAM(&param);
  ASSERT_EQ(hbUCPSubmitTask(task, &param), 0);
  ASSERT_EQ(hbUCPWaitTaskDone(task, 0), 0);
  ASSERT_EQ(hbUCPWaitTaskDone(task, 5), 0) << "again";
  EXPECT_TRUE(buffers.output_equals_input());
  hbDNNTensorProperties p{};
  ASSERT_EQ(hbDNNGetTaskOutputTensorProperties(&p, task, 0, 0), 0);
  EXPECT_EQ(std::memcmp(&p, &buffers.outputs[0].properties, sizeof p), 0);
  ASSERT_EQ(hbUCPReleaseTask(task), 0);
}

TEST_F(HbDnn, WithoutATaskItRunsNow) {
  Buffers buffers(copy);
  ASSERT_EQ(hbDNNInferV2(nullptr, buffers.outputs.data(), buffers.inputs.data(), copy.model), 0);
  EXPECT_TRUE(buffers.output_equals_input());
}

TEST_F(HbDnn, SubTasksOfTwoModels) {
  const LoadedModel other{chain_file(9)};
  Buffers first(copy, 1), second(other, 2), third(copy, 3);
  hbUCPTaskHandle_t task = nullptr;
  ASSERT_EQ(hbDNNInferV2(&task, first.outputs.data(), first.inputs.data(), copy.model), 0);
  const hbUCPTaskHandle_t same = task;
  ASSERT_EQ(hbDNNInferV2(&task, second.outputs.data(), second.inputs.data(), other.model), 0);
  ASSERT_EQ(hbDNNInferV2(&task, third.outputs.data(), third.inputs.data(), copy.model), 0);
  EXPECT_EQ(task, same);
  ASSERT_EQ(run(task), 0);
  EXPECT_TRUE(first.output_equals_input() && second.output_equals_input() && third.output_equals_input());
  hbDNNTensorProperties p{};
  EXPECT_EQ(hbDNNGetTaskOutputTensorProperties(&p, task, 2, 0), 0);
  EXPECT_EQ(hbDNNGetTaskOutputTensorProperties(&p, task, 3, 0), HB_DNN_INVALID_ARGUMENT);
  EXPECT_EQ(hbUCPReleaseTask(task), 0);
}

TEST_F(HbDnn, SeveralModelsInOnePackedHandle) {
  // The golden file's model has a name of its own.
  const Bytes one = chain_file(2), two = golden_file();
  const void* data[] = {one.data(), two.data()};
  std::int32_t lengths[] = {static_cast<std::int32_t>(one.size()), static_cast<std::int32_t>(two.size())};
  hbDNNPackedHandle_t packed = nullptr;
  ASSERT_EQ(hbDNNInitializeFromDDR(&packed, data, lengths, 2), 0);
  const char** names = nullptr;
  std::int32_t count = 0;
  ASSERT_EQ(hbDNNGetModelNameList(&names, &count, packed), 0);
  EXPECT_GE(count, 2);
  for (std::int32_t k = 0; k < count; ++k) {
    hbDNNHandle_t model = nullptr;
    EXPECT_EQ(hbDNNGetModelHandle(&model, packed, names[k]), 0);
  }
  ASSERT_EQ(hbDNNRelease(packed), 0);
  const void* twice[] = {one.data(), one.data()};
  std::int32_t same[] = {lengths[0], lengths[0]};
  EXPECT_EQ(hbDNNInitializeFromDDR(&packed, twice, same, 2), HB_DNN_INVALID_MODEL) << "one name twice";
}

TEST_F(HbDnn, PaddedRowsAndPartsOfAnAllocation) {
  Buffers buffers(copy);
  hbUCPSysMem block{};
  ASSERT_EQ(hbUCPMalloc(&block, 4 * 4096, 0), 0);
  hbDNNTensor input = buffers.inputs[0], output = buffers.outputs[0];
  constexpr std::int64_t kElement = 3, kPixel = 64, kRow = 600;  // of 8 x 8 x 16 int8
  for (auto [tensor, offset] : {std::pair{&input, 100}, std::pair{&output, 8192}}) {
    tensor->sysMem.virAddr = static_cast<char*>(block.virAddr) + offset;
    tensor->sysMem.phyAddr = block.phyAddr + static_cast<std::uint64_t>(offset);
    tensor->sysMem.memSize = 8000;
    tensor->properties.stride[1] = kRow;
    tensor->properties.stride[2] = kPixel;
    tensor->properties.stride[0] = kRow * 8;
  }
  output.properties.stride[3] = kElement;
  const auto* from = static_cast<const std::uint8_t*>(buffers.inputs[0].sysMem.virAddr);
  const auto at = [](const hbDNNTensor& tensor, int y, int x, int c) -> std::uint8_t& {
    const std::int64_t* s = tensor.properties.stride;
    return static_cast<std::uint8_t*>(tensor.sysMem.virAddr)[y * s[1] + x * s[2] + c * s[3]];
  };
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      for (int c = 0; c < 16; ++c) at(input, y, x, c) = from[(y * 8 + x) * 16 + c];
  ASSERT_EQ(hbDNNInferV2(nullptr, &output, &input, copy.model), 0);
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      for (int c = 0; c < 16; ++c) ASSERT_EQ(at(output, y, x, c), from[(y * 8 + x) * 16 + c]) << y << x << c;
  EXPECT_EQ(static_cast<std::uint8_t*>(output.sysMem.virAddr)[16 * 3 + 1], 0) << "padding is not written";
  ASSERT_EQ(hbUCPFree(&block), 0);
}

TEST_F(HbDnn, MemoryThatIsNotAligned) {
  const LoadedModel floats{chain_file(1, isa::DType::F32)};
  Buffers buffers(floats);
  hbUCPSysMem block{};
  ASSERT_EQ(hbUCPMalloc(&block, 3 * 4096, 0), 0);
  hbDNNTensor input = buffers.inputs[0], output = buffers.outputs[0];
  EXPECT_EQ(input.properties.tensorType, HB_DNN_TENSOR_TYPE_F32);
  input.sysMem.virAddr = static_cast<char*>(block.virAddr) + 1;
  output.sysMem.virAddr = static_cast<char*>(block.virAddr) + 4101;
  std::memcpy(input.sysMem.virAddr, buffers.inputs[0].sysMem.virAddr, 4096);
  ASSERT_EQ(hbDNNInferV2(nullptr, &output, &input, floats.model), 0);
  EXPECT_EQ(std::memcmp(output.sysMem.virAddr, input.sysMem.virAddr, 4096), 0);
  ASSERT_EQ(hbUCPFree(&block), 0);
}

TEST_F(HbDnn, ACallBackMayReleaseItsTask) {
  struct Seen {
    std::atomic<int> calls{0};
    std::int32_t status = -1, wait = -1, release = -1, sync = 0;
    Buffers* buffers;
    hbDNNHandle_t model;
    static void call(hbUCPTaskHandle_t task, std::int32_t status, void* userdata) {
      Seen& seen = *static_cast<Seen*>(userdata);
      seen.status = status;
      seen.wait = hbUCPWaitTaskDone(task, 0);
      seen.sync = hbDNNInferV2(nullptr, seen.buffers->outputs.data(), seen.buffers->inputs.data(), seen.model);
      seen.release = hbUCPReleaseTask(task);
      ++seen.calls;
    }
  } seen;
  Buffers buffers(copy), other(copy);
  seen.buffers = &other;
  seen.model = copy.model;
  for (int repeat = 1; repeat <= 20; ++repeat) {
    hbUCPTaskHandle_t task = nullptr;
    ASSERT_EQ(hbDNNInferV2(&task, buffers.outputs.data(), buffers.inputs.data(), copy.model), 0);
    ASSERT_EQ(hbUCPSetTaskDoneCb(task, Seen::call, &seen), 0);
    hbUCPSchedParam param;
    HB_UCP_INITIALIZE_SCHED_PARAM(&param);
    ASSERT_EQ(hbUCPSubmitTask(task, &param), 0);
    while (seen.calls < repeat) std::this_thread::sleep_for(100us);
    EXPECT_EQ(seen.status, 0);
    EXPECT_EQ(seen.wait, 0);
    EXPECT_EQ(seen.sync, HB_DNN_API_USE_ERROR) << "a call-back must not wait";
    EXPECT_EQ(seen.release, 0);
    EXPECT_EQ(hbUCPWaitTaskDone(task, 0), HB_UCP_TASK_HANDLE_INVALID);
  }
}

TEST_F(HbDnn, AProgramThatStopsItselfFails) {
  const LoadedModel trap{trap_file()};
  hbUCPTaskHandle_t task = nullptr;
  ASSERT_EQ(hbDNNInferV2(&task, nullptr, nullptr, trap.model), 0) << "it has no ports";
  EXPECT_EQ(run(task), HB_UCP_TASK_RUN_FAILED);
  EXPECT_EQ(hbUCPReleaseTask(task), 0);
  EXPECT_EQ(hbDNNInferV2(nullptr, nullptr, nullptr, trap.model), HB_UCP_TASK_RUN_FAILED);
}

TEST_F(HbDnn, ReleasedModelsFinishWhatWasNotReleased) {
  auto other = std::make_unique<LoadedModel>(chain_file(3));
  Buffers buffers(*other);
  hbUCPTaskHandle_t task = nullptr;
  ASSERT_EQ(hbDNNInferV2(&task, buffers.outputs.data(), buffers.inputs.data(), other->model), 0);
  ASSERT_EQ(run(task), 0);
  const hbDNNHandle_t stale = other->model;
  other.reset();
  hbDNNTensorProperties p{};
  EXPECT_EQ(hbDNNGetTaskOutputTensorProperties(&p, task, 0, 0), 0);
  EXPECT_EQ(hbUCPReleaseTask(task), 0);
  std::int32_t count = 0;
  EXPECT_EQ(hbDNNGetInputCount(&count, stale), HB_DNN_INVALID_ARGUMENT);
}

TEST_F(HbDnn, LimitsOfTasksAndSubTasks) {
  Buffers buffers(copy);
  std::vector<hbUCPTaskHandle_t> tasks;
  std::int32_t status = 0;
  while (tasks.size() < 5000) {
    hbUCPTaskHandle_t task = nullptr;
    status = hbDNNInferV2(&task, buffers.outputs.data(), buffers.inputs.data(), copy.model);
    if (status != 0) break;
    tasks.push_back(task);
  }
  EXPECT_EQ(status, HB_UCP_TASK_NUMBER_EXCEED_LIMIT);
  EXPECT_EQ(tasks.size(), 1024u);
  while (status == 0 || status == HB_UCP_TASK_NUMBER_EXCEED_LIMIT)
    status = hbDNNInferV2(&tasks[0], buffers.outputs.data(), buffers.inputs.data(), copy.model);
  EXPECT_EQ(status, HB_UCP_OP_NUMBER_EXCEED);
  for (hbUCPTaskHandle_t task : tasks) EXPECT_EQ(hbUCPReleaseTask(task), 0);
  EXPECT_TRUE(buffers.is_freed_by_everyone());
}

TEST_F(HbDnn, ErrorsAreDescribed) {
  EXPECT_STREQ(hbUCPGetErrorDesc(0), "success");
  EXPECT_STREQ(hbUCPGetErrorDesc(1), "unknown status");
  for (std::int32_t status :
       {-100001, -100002, -100003, -100004, -100005, -200001, -200002, -200003, -200004, -300001, -300002, -300003,
        -400001, -400002, -400003, -400004, -400005, -400006, -400007, -500001, -600001, -600002, -600003, -600004})
    EXPECT_STRNE(hbUCPGetErrorDesc(status), "unknown status") << status;
  EXPECT_STREQ(hbUCPGetVersion(), hbDNNGetVersion());
  EXPECT_NE(hbUCPGetSocName(), nullptr);
  EXPECT_EQ(hbUCPFlushLog(), 0);
}

#if !defined(OPENBPU_NO_THREADS)  // where submission runs the task

// A task that is under way until it is told to end: its call-back waits.
struct BusyTask {
  explicit BusyTask(const LoadedModel& model) : buffers(model) {
    EXPECT_EQ(hbDNNInferV2(&task, buffers.outputs.data(), buffers.inputs.data(), model.model), 0);
    EXPECT_EQ(hbUCPSetTaskDoneCb(task, wait, this), 0);
  }
  void submit() {
    hbUCPSchedParam param;
    HB_UCP_INITIALIZE_SCHED_PARAM(&param);
    param.backend = HB_UCP_BPU_CORE_0;
    EXPECT_EQ(hbUCPSubmitTask(blocker, &param), 0);
    while (!started) std::this_thread::sleep_for(100us);
    EXPECT_EQ(hbUCPSubmitTask(task, &param), 0);
  }
  static void wait(hbUCPTaskHandle_t, std::int32_t, void* self) {
    BusyTask& busy = *static_cast<BusyTask*>(self);
    busy.started = true;
    while (!busy.end) std::this_thread::sleep_for(100us);
  }
  Buffers buffers;
  hbUCPTaskHandle_t task = nullptr, blocker = nullptr;
  std::atomic<bool> started{false}, end{false};
};

TEST_F(HbDnn, WhileATaskIsUnderWay) {
  const LoadedModel other{chain_file(2)};
  Buffers held(other);
  BusyTask busy(copy);
  busy.blocker = nullptr;
  ASSERT_EQ(hbDNNInferV2(&busy.blocker, held.outputs.data(), held.inputs.data(), other.model), 0);
  ASSERT_EQ(hbUCPSetTaskDoneCb(busy.blocker, BusyTask::wait, &busy), 0);
  busy.submit();  // queued behind the call-back of the blocker
  hbUCPSchedParam param;
  HB_UCP_INITIALIZE_SCHED_PARAM(&param);
  EXPECT_EQ(hbUCPReleaseTask(busy.task), HB_UCP_API_USE_ERROR);
  EXPECT_EQ(hbUCPSubmitTask(busy.task, &param), HB_UCP_API_USE_ERROR);
  EXPECT_EQ(hbUCPSetTaskDoneCb(busy.task, nullptr, nullptr), HB_UCP_API_USE_ERROR);
  EXPECT_EQ(hbUCPWaitTaskDone(busy.task, 5), HB_UCP_TASK_TIMEOUT);
  EXPECT_EQ(hbDNNRelease(copy.packed), HB_DNN_MODEL_IS_RUNNING);
  EXPECT_EQ(hbUCPFree(&busy.buffers.inputs[0].sysMem), HB_UCP_MEM_FREE_FAILED);
  EXPECT_EQ(hbUCPFree(&busy.buffers.outputs[0].sysMem), HB_UCP_MEM_FREE_FAILED);
  EXPECT_EQ(hbDNNInferV2(&busy.task, held.outputs.data(), held.inputs.data(), other.model), HB_DNN_API_USE_ERROR);
  hbDNNTensorProperties p{};
  EXPECT_EQ(hbDNNGetTaskOutputTensorProperties(&p, busy.task, 0, 0), HB_DNN_API_USE_ERROR);
  busy.end = true;
  EXPECT_EQ(hbUCPWaitTaskDone(busy.task, 0), 0);
  EXPECT_EQ(hbUCPWaitTaskDone(busy.blocker, 0), 0);
  EXPECT_EQ(hbUCPReleaseTask(busy.task), 0);
  EXPECT_EQ(hbUCPReleaseTask(busy.blocker), 0);
}

#if !defined(__SANITIZE_THREAD__)  // which supports no threads after fork
TEST_F(HbDnn, AfterFork) {
  const LoadedModel other{chain_file(2)};
  Buffers buffers(copy), held(other);
  BusyTask busy(copy);
  ASSERT_EQ(hbDNNInferV2(&busy.blocker, held.outputs.data(), held.inputs.data(), other.model), 0);
  ASSERT_EQ(hbUCPSetTaskDoneCb(busy.blocker, BusyTask::wait, &busy), 0);
  busy.submit();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    const bool lost = hbUCPWaitTaskDone(busy.task, 0) == HB_UCP_TASK_RUN_FAILED && hbUCPReleaseTask(busy.task) == 0;
    const bool anew = hbDNNInferV2(nullptr, buffers.outputs.data(), buffers.inputs.data(), copy.model) == 0;
    _exit(lost && anew && buffers.output_equals_input() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  busy.end = true;
  EXPECT_EQ(hbUCPWaitTaskDone(busy.task, 0), 0);
  EXPECT_EQ(hbUCPWaitTaskDone(busy.blocker, 0), 0);
  EXPECT_EQ(hbUCPReleaseTask(busy.task), 0);
  EXPECT_EQ(hbUCPReleaseTask(busy.blocker), 0);
}
#endif
#endif

}  // namespace
}  // namespace openbpu::testing
