// Every call made wrongly, and the status that it gives. None may crash, and what was right before still works after.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "hbdnn_models.hpp"

namespace openbpu::testing {
namespace {

// What the calls of a row may use: live things, and things that are gone.
struct Bench {
  LoadedModel loaded{chain_file(2)};
  Buffers buffers{loaded};
  hbDNNPackedHandle_t packed = loaded.packed, released_packed = nullptr;
  hbDNNHandle_t model = loaded.model, released_model = nullptr;
  hbUCPTaskHandle_t task = nullptr, released_task = nullptr;  // task: not submitted
  hbDNNTensor* outputs = buffers.outputs.data();
  hbDNNTensor* inputs = buffers.inputs.data();
  hbUCPSysMem freed{};
  hbUCPSchedParam param{};
  hbDNNTensorProperties properties{};
  const char* text = nullptr;
  const char** names = nullptr;
  std::uint32_t size = 0;
  std::int32_t number = 0;
  int stranger = 0;  // something that is no handle

  Bench() {
    HB_UCP_INITIALIZE_SCHED_PARAM(&param);
    {
      const LoadedModel gone{chain_file(1)};
      released_packed = gone.packed;
      released_model = gone.model;
    }
    EXPECT_EQ(hbDNNInferV2(&task, outputs, inputs, model), 0);
    EXPECT_EQ(hbDNNInferV2(&released_task, outputs, inputs, model), 0);
    EXPECT_EQ(hbUCPReleaseTask(released_task), 0);
    EXPECT_EQ(hbUCPMalloc(&freed, 1024, 0), 0);
    hbUCPSysMem copy = freed;
    EXPECT_EQ(hbUCPFree(&copy), 0);
  }
  ~Bench() {
    EXPECT_EQ(run(task), 0) << "the task still runs";
    EXPECT_TRUE(buffers.output_equals_input());
    EXPECT_EQ(hbUCPReleaseTask(task), 0);
  }

  // hbDNNInferV2 with one tensor changed.
  std::int32_t infer(const std::function<void(hbDNNTensor&)>& change, bool of_output = false) {
    hbDNNTensor input = inputs[0], output = outputs[0];
    change(of_output ? output : input);
    hbUCPTaskHandle_t made = nullptr;
    const std::int32_t status = hbDNNInferV2(&made, &output, &input, model);
    EXPECT_EQ(made, nullptr);
    return status;
  }
  std::int32_t submit(const std::function<void(hbUCPSchedParam&)>& change) {
    hbUCPSchedParam changed = param;
    change(changed);
    return hbUCPSubmitTask(task, &changed);
  }
  std::int32_t load(const Bytes& file, std::int32_t length_change = 0) {
    const void* data[] = {file.data()};
    std::int32_t length[] = {static_cast<std::int32_t>(file.size()) + length_change};
    hbDNNPackedHandle_t made = nullptr;
    return hbDNNInitializeFromDDR(&made, data, length, 1);
  }
};

struct WrongCall {
  std::string name;
  std::int32_t status;
  std::function<std::int32_t(Bench&)> call;
};

Bytes changed_golden(std::size_t offset, std::uint8_t value) {
  Bytes file = golden_file();
  file[offset] = value;
  return file;
}

// The expression stands last, because it may hold commas.
#define ROW(name, status, ...) {#name, status, []([[maybe_unused]] Bench& b) { return __VA_ARGS__; }}

hbDNNPackedHandle_t made;
hbDNNHandle_t made_model;
const char* kNoFile[] = {"/nowhere/at/all.bpux"};
const char* kFolder[] = {"/"};
const char* kNullFile[] = {nullptr};
const void* kNullData[] = {nullptr};
const void* kSomeData[] = {"some"};
std::int32_t kLengths[] = {4};
std::int32_t kZeroLength[] = {0};

const WrongCall kWrongCalls[] = {
    // loading
    ROW(load_files_null_handle, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromFiles(nullptr, kNoFile, 1)),
    ROW(load_files_null_list, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromFiles(&made, nullptr, 1)),
    ROW(load_files_null_name, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromFiles(&made, kNullFile, 1)),
    ROW(load_files_none, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromFiles(&made, kNoFile, 0)),
    ROW(load_files_negative, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromFiles(&made, kNoFile, -3)),
    ROW(load_files_missing, HB_DNN_CAN_NOT_OPEN_FILE, hbDNNInitializeFromFiles(&made, kNoFile, 1)),
    ROW(load_files_folder, HB_DNN_CAN_NOT_OPEN_FILE, hbDNNInitializeFromFiles(&made, kFolder, 1)),
    ROW(load_data_null_handle, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromDDR(nullptr, kSomeData, kLengths, 1)),
    ROW(load_data_null_list, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromDDR(&made, nullptr, kLengths, 1)),
    ROW(load_data_null_lengths, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromDDR(&made, kSomeData, nullptr, 1)),
    ROW(load_data_null, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromDDR(&made, kNullData, kLengths, 1)),
    ROW(load_data_empty, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromDDR(&made, kSomeData, kZeroLength, 1)),
    ROW(load_data_none, HB_DNN_INVALID_ARGUMENT, hbDNNInitializeFromDDR(&made, kSomeData, kLengths, 0)),
    ROW(load_data_no_model, HB_DNN_INVALID_MODEL, hbDNNInitializeFromDDR(&made, kSomeData, kLengths, 1)),
    ROW(load_data_cut, HB_DNN_INVALID_MODEL, b.load(golden_file(), -1)),
    ROW(load_data_damaged, HB_DNN_INVALID_MODEL, b.load(changed_golden(700, 0xEE))),
    ROW(load_data_other_version, HB_DNN_INCOMPATIBLE_MODEL, b.load(changed_golden(8, 99))),
    ROW(release_null, HB_DNN_INVALID_ARGUMENT, hbDNNRelease(nullptr)),
    ROW(release_twice, HB_DNN_INVALID_ARGUMENT, hbDNNRelease(b.released_packed)),
    ROW(release_stranger, HB_DNN_INVALID_ARGUMENT, hbDNNRelease(&b.stranger)),
    ROW(release_model_handle, HB_DNN_INVALID_ARGUMENT, hbDNNRelease(b.model)),
    ROW(release_while_in_use, HB_DNN_MODEL_IS_RUNNING, hbDNNRelease(b.packed)),
    // names, counts
    ROW(names_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelNameList(nullptr, &b.number, b.packed)),
    ROW(names_null_count, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelNameList(&b.names, nullptr, b.packed)),
    ROW(names_null_handle, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelNameList(&b.names, &b.number, nullptr)),
    ROW(names_released, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelNameList(&b.names, &b.number, b.released_packed)),
    ROW(handle_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelHandle(nullptr, b.packed, "net")),
    ROW(handle_null_name, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelHandle(&made_model, b.packed, nullptr)),
    ROW(handle_unknown_name, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelHandle(&made_model, b.packed, "nobody")),
    ROW(handle_released, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelHandle(&made_model, b.released_packed, "net")),
    ROW(handle_of_model, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelHandle(&made_model, b.model, "net")),
    ROW(input_count_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputCount(nullptr, b.model)),
    ROW(input_count_null_model, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputCount(&b.number, nullptr)),
    ROW(input_count_released, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputCount(&b.number, b.released_model)),
    ROW(input_count_packed, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputCount(&b.number, b.packed)),
    ROW(input_count_task, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputCount(&b.number, b.task)),
    ROW(input_count_stranger, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputCount(&b.number, &b.stranger)),
    ROW(output_count_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputCount(nullptr, b.model)),
    ROW(output_count_released, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputCount(&b.number, b.released_model)),
    ROW(input_name_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputName(nullptr, b.model, 0)),
    ROW(input_name_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputName(&b.text, b.model, 1)),
    ROW(input_name_negative, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputName(&b.text, b.model, -1)),
    ROW(input_name_released, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputName(&b.text, b.released_model, 0)),
    ROW(output_name_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputName(nullptr, b.model, 0)),
    ROW(output_name_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputName(&b.text, b.model, 1)),
    ROW(output_name_released, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputName(&b.text, b.released_model, 0)),
    // properties, descriptions
    ROW(input_properties_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputTensorProperties(nullptr, b.model, 0)),
    ROW(input_properties_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputTensorProperties(&b.properties, b.model, 9)),
    ROW(input_properties_gone, HB_DNN_INVALID_ARGUMENT,
        hbDNNGetInputTensorProperties(&b.properties, b.released_model, 0)),
    ROW(output_properties_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputTensorProperties(nullptr, b.model, 0)),
    ROW(output_properties_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputTensorProperties(&b.properties, b.model, -1)),
    ROW(output_properties_gone, HB_DNN_INVALID_ARGUMENT,
        hbDNNGetOutputTensorProperties(&b.properties, b.released_model, 0)),
    ROW(input_desc_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputDesc(nullptr, &b.size, &b.number, b.model, 0)),
    ROW(input_desc_null_size, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputDesc(&b.text, nullptr, &b.number, b.model, 0)),
    ROW(input_desc_null_type, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputDesc(&b.text, &b.size, nullptr, b.model, 0)),
    ROW(input_desc_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetInputDesc(&b.text, &b.size, &b.number, b.model, 1)),
    ROW(output_desc_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputDesc(nullptr, &b.size, &b.number, b.model, 0)),
    ROW(output_desc_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetOutputDesc(&b.text, &b.size, &b.number, b.model, 1)),
    ROW(model_desc_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelDesc(nullptr, &b.size, &b.number, b.model)),
    ROW(model_desc_gone, HB_DNN_INVALID_ARGUMENT, hbDNNGetModelDesc(&b.text, &b.size, &b.number, b.released_model)),
    ROW(file_desc_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetHBMDesc(nullptr, &b.size, &b.number, b.packed, 0)),
    ROW(file_desc_index, HB_DNN_INVALID_ARGUMENT, hbDNNGetHBMDesc(&b.text, &b.size, &b.number, b.packed, 1)),
    ROW(file_desc_gone, HB_DNN_INVALID_ARGUMENT, hbDNNGetHBMDesc(&b.text, &b.size, &b.number, b.released_packed, 0)),
    ROW(core_num_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetCompileBpuCoreNum(nullptr, b.model)),
    ROW(core_num_gone, HB_DNN_INVALID_ARGUMENT, hbDNNGetCompileBpuCoreNum(&b.number, b.released_model)),
    // inference
    ROW(infer_null_model, HB_DNN_INVALID_ARGUMENT, hbDNNInferV2(nullptr, b.outputs, b.inputs, nullptr)),
    ROW(infer_released_model, HB_DNN_INVALID_ARGUMENT, hbDNNInferV2(nullptr, b.outputs, b.inputs, b.released_model)),
    ROW(infer_stranger, HB_DNN_INVALID_ARGUMENT, hbDNNInferV2(nullptr, b.outputs, b.inputs, &b.stranger)),
    ROW(infer_null_outputs, HB_DNN_INVALID_ARGUMENT, hbDNNInferV2(nullptr, nullptr, b.inputs, b.model)),
    ROW(infer_null_inputs, HB_DNN_INVALID_ARGUMENT, hbDNNInferV2(nullptr, b.outputs, nullptr, b.model)),
    ROW(infer_released_task, HB_UCP_TASK_HANDLE_INVALID, hbDNNInferV2(&b.released_task, b.outputs, b.inputs, b.model)),
    ROW(infer_no_memory, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.sysMem.virAddr = nullptr; })),
    ROW(infer_small_memory, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.sysMem.memSize -= 1; })),
    ROW(infer_small_output, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.sysMem.memSize = 0; }, true)),
    ROW(infer_more_than_allocated, HB_UCP_MEM_IS_INVALID, b.infer([](hbDNNTensor& t) { t.sysMem.memSize += 1; })),
    ROW(infer_freed_memory, HB_UCP_MEM_IS_INVALID, b.infer([&b](hbDNNTensor& t) { t.sysMem = b.freed; })),
    ROW(infer_foreign_memory, HB_UCP_MEM_IS_INVALID, b.infer([&b](hbDNNTensor& t) { t.sysMem.virAddr = &b; }, true)),
    ROW(infer_shape, HB_DNN_INVALID_ARGUMENT,
        b.infer([](hbDNNTensor& t) { t.properties.validShape.dimensionSize[1] = 7; })),
    ROW(infer_rank, HB_DNN_INVALID_ARGUMENT,
        b.infer([](hbDNNTensor& t) { t.properties.validShape.numDimensions = 3; }, true)),
    ROW(infer_rank_beyond, HB_DNN_INVALID_ARGUMENT,
        b.infer([](hbDNNTensor& t) { t.properties.validShape.numDimensions = 1000; })),
    ROW(infer_type, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.properties.tensorType = 7; })),
    ROW(infer_stride_small, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.properties.stride[2] = 15; })),
    ROW(infer_stride_negative, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.properties.stride[1] = -1; })),
    ROW(infer_stride_large, HB_DNN_INVALID_ARGUMENT, b.infer([](hbDNNTensor& t) { t.properties.stride[1] = 129; })),
    ROW(infer_stride_huge, HB_DNN_INVALID_ARGUMENT,
        b.infer([](hbDNNTensor& t) { t.properties.stride[1] = INT64_MAX; }, true)),
    ROW(task_properties_null, HB_DNN_INVALID_ARGUMENT, hbDNNGetTaskOutputTensorProperties(nullptr, b.task, 0, 0)),
    ROW(task_properties_early, HB_DNN_API_USE_ERROR, hbDNNGetTaskOutputTensorProperties(&b.properties, b.task, 0, 0)),
    ROW(task_properties_gone, HB_UCP_TASK_HANDLE_INVALID,
        hbDNNGetTaskOutputTensorProperties(&b.properties, b.released_task, 0, 0)),
    // tasks
    ROW(submit_null, HB_UCP_TASK_HANDLE_INVALID, hbUCPSubmitTask(nullptr, &b.param)),
    ROW(submit_released, HB_UCP_TASK_HANDLE_INVALID, hbUCPSubmitTask(b.released_task, &b.param)),
    ROW(submit_stranger, HB_UCP_TASK_HANDLE_INVALID, hbUCPSubmitTask(&b.stranger, &b.param)),
    ROW(submit_model, HB_UCP_TASK_HANDLE_INVALID, hbUCPSubmitTask(b.model, &b.param)),
    ROW(submit_null_param, HB_UCP_INVALID_ARGUMENT, hbUCPSubmitTask(b.task, nullptr)),
    ROW(submit_priority_low, HB_UCP_INVALID_ARGUMENT, b.submit([](hbUCPSchedParam& p) { p.priority = -1; })),
    ROW(submit_priority_high, HB_UCP_INVALID_ARGUMENT, b.submit([](hbUCPSchedParam& p) { p.priority = 256; })),
    ROW(submit_core_4, HB_UCP_INVALID_ARGUMENT, b.submit([](hbUCPSchedParam& p) { p.backend = 1 << 4; })),
    ROW(submit_other_unit, HB_UCP_INVALID_ARGUMENT, b.submit([](hbUCPSchedParam& p) { p.backend = 1 << 8; })),
    ROW(submit_device, HB_UCP_INVALID_ARGUMENT, b.submit([](hbUCPSchedParam& p) { p.deviceId = 1; })),
    ROW(wait_null, HB_UCP_TASK_HANDLE_INVALID, hbUCPWaitTaskDone(nullptr, 0)),
    ROW(wait_released, HB_UCP_TASK_HANDLE_INVALID, hbUCPWaitTaskDone(b.released_task, 0)),
    ROW(wait_not_submitted, HB_UCP_API_USE_ERROR, hbUCPWaitTaskDone(b.task, 0)),
    ROW(wait_negative, HB_UCP_INVALID_ARGUMENT, hbUCPWaitTaskDone(b.task, -1)),
    ROW(call_back_null, HB_UCP_TASK_HANDLE_INVALID, hbUCPSetTaskDoneCb(nullptr, nullptr, nullptr)),
    ROW(call_back_released, HB_UCP_TASK_HANDLE_INVALID, hbUCPSetTaskDoneCb(b.released_task, nullptr, nullptr)),
    ROW(release_task_null, HB_UCP_TASK_HANDLE_INVALID, hbUCPReleaseTask(nullptr)),
    ROW(release_task_twice, HB_UCP_TASK_HANDLE_INVALID, hbUCPReleaseTask(b.released_task)),
    ROW(release_task_stranger, HB_UCP_TASK_HANDLE_INVALID, hbUCPReleaseTask(&b.stranger)),
    // memory
    ROW(malloc_null, HB_UCP_INVALID_ARGUMENT, hbUCPMalloc(nullptr, 64, 0)),
    ROW(malloc_zero, HB_UCP_INVALID_ARGUMENT, hbUCPMalloc(&b.freed, 0, 0)),
    ROW(malloc_device, HB_UCP_INVALID_ARGUMENT, hbUCPMalloc(&b.freed, 64, 1)),
    ROW(malloc_too_much, HB_UCP_MEM_ALLOC_FAILED, hbUCPMalloc(&b.freed, UINT64_MAX, 0)),
    ROW(malloc_cached_null, HB_UCP_INVALID_ARGUMENT, hbUCPMallocCached(nullptr, 64, 0)),
    ROW(malloc_cached_too_much, HB_UCP_MEM_ALLOC_FAILED, hbUCPMallocCached(&b.freed, UINT64_MAX / 2, 0)),
    ROW(free_null, HB_UCP_INVALID_ARGUMENT, hbUCPFree(nullptr)),
    ROW(free_twice, HB_UCP_MEM_IS_INVALID, hbUCPFree(&b.freed)),
    ROW(free_foreign, HB_UCP_MEM_IS_INVALID,
        [&b] {
          hbUCPSysMem mem{0, &b, 64};
          return hbUCPFree(&mem);
        }()),
    ROW(free_null_address, HB_UCP_INVALID_ARGUMENT,
        [] {
          hbUCPSysMem mem{};
          return hbUCPFree(&mem);
        }()),
    ROW(free_in_use, HB_UCP_MEM_FREE_FAILED, hbUCPFree(&b.inputs[0].sysMem)),
    ROW(flush_null, HB_UCP_INVALID_ARGUMENT, hbUCPMemFlush(nullptr, HB_SYS_MEM_CACHE_CLEAN)),
    ROW(flush_freed, HB_UCP_MEM_IS_INVALID, hbUCPMemFlush(&b.freed, HB_SYS_MEM_CACHE_CLEAN)),
    ROW(flush_flag, HB_UCP_INVALID_ARGUMENT, hbUCPMemFlush(&b.inputs[0].sysMem, 0)),
    ROW(flush_unknown_flag, HB_UCP_INVALID_ARGUMENT, hbUCPMemFlush(&b.inputs[0].sysMem, 4)),
};

class WrongCalls : public ::testing::TestWithParam<WrongCall> {};

TEST_P(WrongCalls, GiveTheirStatus) {
  setenv("HB_UCP_LOG_LEVEL", "6", 1);
  Bench bench;
  EXPECT_EQ(GetParam().call(bench), GetParam().status) << hbUCPGetErrorDesc(GetParam().status);
}

INSTANTIATE_TEST_SUITE_P(HbDnn, WrongCalls, ::testing::ValuesIn(kWrongCalls), name_of<WrongCall>);

}  // namespace
}  // namespace openbpu::testing
