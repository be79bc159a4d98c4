#include "api/dnn/inference.hpp"

#include <cstring>

namespace openbpu::dnn {
namespace {

constexpr const char* kFunction = "hbDNNInferV2";

using Lock = std::unique_lock<std::mutex>;
using ucp::fail;

// Copies the elements of a tensor between their dense form and the application's memory.
void copy_strided(const Transfer& transfer, unsigned char* dense, bool gather) {
  const Tensor& tensor = *transfer.tensor;
  const hbDNNTensorShape& shape = tensor.properties.validShape;
  const int rank = shape.numDimensions;
  const std::size_t element = tensor.element_bytes;
  const bool has_rows = rank > 0 && transfer.stride[rank - 1] == static_cast<std::int64_t>(element);
  const int outer = has_rows ? rank - 1 : rank;
  const std::size_t piece = has_rows ? element * static_cast<std::size_t>(shape.dimensionSize[rank - 1]) : element;
  std::int64_t index[HB_DNN_TENSOR_MAX_DIMENSIONS] = {};
  for (std::size_t done = 0; done < tensor.bytes; done += piece) {
    std::int64_t offset = 0;
    for (int k = 0; k < outer; ++k) offset += index[k] * transfer.stride[k];
    if (gather)
      std::memcpy(dense + done, transfer.memory + offset, piece);
    else
      std::memcpy(transfer.memory + offset, dense + done, piece);
    for (int k = outer; k-- > 0;) {
      if (++index[k] < shape.dimensionSize[k]) break;
      index[k] = 0;
    }
  }
}

std::int32_t wrong(const std::string& where, const std::string& message) {
  return fail(HB_DNN_INVALID_ARGUMENT, kFunction, where + ": " + message);
}

// Bytes from the first to behind the last element, and whether they are dense. Fails where rows overlap.
std::int32_t read_strides(const std::string& where, const hbDNNTensor& given, Transfer& transfer,
                          std::uint64_t& extent) {
  const hbDNNTensorProperties& published = transfer.tensor->properties;
  const int rank = published.validShape.numDimensions;
  // Engines want elements at their own alignment.
  transfer.dense = reinterpret_cast<std::uintptr_t>(transfer.memory) % transfer.tensor->element_bytes == 0;
  extent = transfer.tensor->element_bytes;
  std::int64_t least = static_cast<std::int64_t>(transfer.tensor->element_bytes);
  for (int k = rank; k-- > 0;) {
    const std::int64_t stride = given.properties.stride[k];
    const std::int64_t size = published.validShape.dimensionSize[k];
    if (stride < least)
      return wrong(where, "stride " + std::to_string(k) + " must be at least " + std::to_string(least) + "; got " +
                              std::to_string(stride));
    if (stride > static_cast<std::int64_t>(given.sysMem.memSize / static_cast<std::uint64_t>(size)) && size > 1)
      return wrong(where, "needs more than its " + std::to_string(given.sysMem.memSize) + " bytes of memory");
    if (stride != published.stride[k]) transfer.dense = false;
    transfer.stride[k] = stride;
    extent += static_cast<std::uint64_t>(stride) * static_cast<std::uint64_t>(size - 1);
    least = stride * size;
  }
  return HB_DNN_SUCCESS;
}

std::int32_t read_tensor(const std::string& where, const Tensor& tensor, const hbDNNTensor& given, Transfer& transfer) {
  const hbDNNTensorProperties& published = tensor.properties;
  const hbDNNTensorShape &shape = given.properties.validShape, &want = published.validShape;
  if (shape.numDimensions != want.numDimensions ||
      std::memcmp(shape.dimensionSize, want.dimensionSize,
                  static_cast<std::size_t>(want.numDimensions) * sizeof(std::int32_t)) != 0)
    return wrong(where, "its shape is not the one that the model publishes");
  if (given.properties.tensorType != published.tensorType)
    return wrong(where, "its type must be " + std::to_string(published.tensorType) + "; got " +
                            std::to_string(given.properties.tensorType));
  if (!given.sysMem.virAddr) return wrong(where, "it has no memory");
  if (given.sysMem.memSize < tensor.bytes)
    return wrong(where, "needs " + std::to_string(tensor.bytes) + " bytes of memory; has " +
                            std::to_string(given.sysMem.memSize));
  transfer.tensor = &tensor;
  transfer.memory = static_cast<unsigned char*>(given.sysMem.virAddr);
  transfer.allocation = ucp::pin(given.sysMem.virAddr, given.sysMem.memSize);
  if (!transfer.allocation)
    return fail(HB_UCP_MEM_IS_INVALID, kFunction, where + ": its memory does not lie in one live allocation");
  std::uint64_t extent = 0;
  if (const std::int32_t status = read_strides(where, given, transfer, extent)) return status;
  if (extent > given.sysMem.memSize)
    return wrong(where,
                 "needs " + std::to_string(extent) + " bytes of memory; has " + std::to_string(given.sysMem.memSize));
  if (!transfer.dense) transfer.staging.resize(tensor.bytes);
  return HB_DNN_SUCCESS;
}

std::int32_t read_tensors(const char* kind, const std::vector<std::unique_ptr<Tensor>>& tensors,
                          const hbDNNTensor* given, std::vector<Transfer>& transfers) {
  if (!given && !tensors.empty()) return wrong(kind, "the tensors are null");
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    const std::int32_t status = read_tensor(kind, *tensors[k], given[k], transfers[k]);
    if (status != HB_DNN_SUCCESS) return status;
  }
  return HB_DNN_SUCCESS;
}

void unpin(Inference& inference) {
  for (std::vector<Transfer>* transfers : {&inference.inputs, &inference.outputs})
    for (Transfer& transfer : *transfers)
      if (ucp::Allocation* allocation = std::exchange(transfer.allocation, nullptr)) ucp::unpin(allocation);
}

void finish(void* context) {
  Inference& inference = *static_cast<Inference*>(context);
  unpin(inference);
  Lock lock(mutex());
  --inference.model->active;
}

void release(void* context) {
  std::unique_ptr<Inference> inference(static_cast<Inference*>(context));
  const std::shared_ptr<Model> model = std::move(inference->model);
  Lock lock(mutex());
  model->inferences.push_back(std::move(inference));
}

// Gives back an inference that no task has taken.
struct GiveBack {
  void operator()(Inference* inference) const {
    finish(inference);
    release(inference);
  }
};

std::unique_ptr<Inference, GiveBack> take_inference(const std::shared_ptr<Model>& model) {
  std::unique_ptr<Inference> inference;
  Lock lock(mutex());
  if (!model->inferences.empty()) {
    inference = std::move(model->inferences.back());
    model->inferences.pop_back();
  } else {
    inference = std::make_unique<Inference>();
    inference->inputs.resize(model->inputs.size());
    inference->outputs.resize(model->outputs.size());
    inference->from.resize(model->inputs.size());
    inference->to.resize(model->outputs.size());
  }
  ++model->active;
  inference->model = model;
  return std::unique_ptr<Inference, GiveBack>(inference.release());
}

// An engine of a model, for one run.
class BorrowedEngine {
 public:
  explicit BorrowedEngine(Model& model) : model_(model), engine_(take(model)) {}
  ~BorrowedEngine() {
    if (!engine_.ok()) return;
    Lock lock(mutex());
    model_.engines.push_back(std::move(engine_.value()));
  }
  BorrowedEngine(const BorrowedEngine&) = delete;
  BorrowedEngine& operator=(const BorrowedEngine&) = delete;

  runtime::Result<runtime::Engine>& get() { return engine_; }

 private:
  static runtime::Result<runtime::Engine> take(Model& model) {
    {
      Lock lock(mutex());
      if (!model.engines.empty()) {
        runtime::Engine engine = std::move(model.engines.back());
        model.engines.pop_back();
        return engine;
      }
    }
    return make_engine(model);
  }

  Model& model_;
  runtime::Result<runtime::Engine> engine_;
};

std::int32_t run(void* context, runtime::Execution& execution) {
  Inference& inference = *static_cast<Inference*>(context);
  return ucp::call(kFunction, [&]() -> std::int32_t {
    BorrowedEngine engine(*inference.model);
    if (!engine.get().ok()) return ucp::status_of(engine.get().status());
    for (std::size_t k = 0; k < inference.inputs.size(); ++k) {
      Transfer& input = inference.inputs[k];
      if (!input.dense) copy_strided(input, input.staging.data(), true);
      inference.from[k] = input.dense_memory();
    }
    for (std::size_t k = 0; k < inference.outputs.size(); ++k) inference.to[k] = inference.outputs[k].dense_memory();
    runtime::RunOptions options;
    options.execution = &execution;
    const runtime::Status status = engine.get().value().run(inference.from, inference.to, options);
    if (!status.ok()) return fail(ucp::status_of(status), kFunction, status.where() + ": " + status.message());
    for (Transfer& output : inference.outputs)
      if (!output.dense) copy_strided(output, output.staging.data(), false);
    return HB_DNN_SUCCESS;
  });
}

struct Question {
  std::int32_t output;
  hbDNNTensorProperties* answer;
};

std::int32_t answer(void* context, void* argument) {
  const Inference& inference = *static_cast<Inference*>(context);
  const Question& question = *static_cast<Question*>(argument);
  if (question.output < 0 || static_cast<std::size_t>(question.output) >= inference.outputs.size())
    return fail(HB_DNN_INVALID_ARGUMENT, "hbDNNGetTaskOutputTensorProperties",
                "there is no output " + std::to_string(question.output));
  *question.answer = inference.outputs[static_cast<std::size_t>(question.output)].tensor->properties;
  return HB_DNN_SUCCESS;
}

std::int32_t run_now(hbUCPTaskHandle_t task) {
  hbUCPSchedParam param;
  HB_UCP_INITIALIZE_SCHED_PARAM(&param);
  std::int32_t status = hbUCPSubmitTask(task, &param);
  if (status == HB_UCP_SUCCESS) status = hbUCPWaitTaskDone(task, 0);
  (void)hbUCPReleaseTask(task);
  return status;
}

}  // namespace
}  // namespace openbpu::dnn

using namespace openbpu::dnn;

int32_t hbDNNInferV2(hbUCPTaskHandle_t* taskHandle, hbDNNTensor* output, hbDNNTensor const* input,
                     hbDNNHandle_t dnnHandle) {
  return openbpu::ucp::call(kFunction, [&]() -> std::int32_t {
    const std::shared_ptr<Model> model = find_model(dnnHandle);
    if (!model) return fail(HB_DNN_INVALID_ARGUMENT, kFunction, "the model does not exist, or is already released");
    if (!taskHandle && openbpu::runtime::on_core())
      return fail(HB_DNN_API_USE_ERROR, kFunction, "a call-back must not wait for an inference");
    auto inference = take_inference(model);
    std::int32_t status = read_tensors("input", model->inputs, input, inference->inputs);
    if (status == HB_DNN_SUCCESS) status = read_tensors("output", model->outputs, output, inference->outputs);
    hbUCPTaskHandle_t task = taskHandle ? *taskHandle : nullptr;
    if (status == HB_DNN_SUCCESS) status = openbpu::ucp::append(task, {run, finish, release, inference.get()});
    if (status != HB_DNN_SUCCESS) return status;
    (void)inference.release();  // the task has it
    if (!taskHandle) return run_now(task);
    *taskHandle = task;
    return HB_DNN_SUCCESS;
  });
}

int32_t hbDNNGetTaskOutputTensorProperties(hbDNNTensorProperties* properties, hbUCPTaskHandle_t taskHandle,
                                           int32_t subTaskIndex, int32_t outputIndex) {
  constexpr const char* kName = "hbDNNGetTaskOutputTensorProperties";
  return openbpu::ucp::call(kName, [&]() -> std::int32_t {
    if (!properties) return fail(HB_DNN_INVALID_ARGUMENT, kName, "properties is null");
    Question question{outputIndex, properties};
    return openbpu::ucp::look_at(taskHandle, subTaskIndex, answer, &question);
  });
}
