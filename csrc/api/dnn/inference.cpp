#include "api/dnn/inference.hpp"

#include <cstring>

namespace openbpu::dnn {
namespace {

constexpr const char* kFunction = "hbDNNInferV2";

using Lock = std::unique_lock<std::mutex>;
using ucp::fail;

// Copies the elements of a tensor between the engine's dense buffer and the application's memory.
void copy_strided(const Transfer& transfer, unsigned char* dense, bool gather) {
  const Tensor& tensor = *transfer.tensor;
  const int rank = tensor.properties.validShape.numDimensions;
  const auto element = static_cast<std::int64_t>(tensor.element_bytes);
  const bool has_rows = rank > 0 && transfer.stride[rank - 1] == element;
  const int outer = has_rows ? rank - 1 : rank;
  const auto piece = static_cast<std::size_t>(has_rows ? element * transfer.shape[rank - 1] : element);
  std::int64_t pieces = 1;
  for (int k = 0; k < outer; ++k) pieces *= transfer.shape[k];
  std::int64_t index[HB_DNN_TENSOR_MAX_DIMENSIONS] = {};
  for (; pieces > 0; --pieces) {
    std::int64_t there = 0, here = 0;
    for (int k = 0; k < outer; ++k) {
      there += index[k] * transfer.stride[k];
      here += index[k] * tensor.stride[k];
    }
    if (gather)
      std::memcpy(dense + here, transfer.memory + there, piece);
    else
      std::memcpy(transfer.memory + there, dense + here, piece);
    for (int k = outer; k-- > 0;) {
      if (++index[k] < transfer.shape[k]) break;
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
  const Tensor& tensor = *transfer.tensor;
  const int rank = tensor.properties.validShape.numDimensions;
  // Engines want elements at their own alignment.
  transfer.dense = reinterpret_cast<std::uintptr_t>(transfer.memory) % transfer.tensor->element_bytes == 0;
  extent = transfer.tensor->element_bytes;
  std::int64_t least = static_cast<std::int64_t>(transfer.tensor->element_bytes);
  for (int k = rank; k-- > 0;) {
    const std::int64_t stride = given.properties.stride[k];
    const std::int64_t size = transfer.shape[k];
    if (stride < least)
      return wrong(where, "stride " + std::to_string(k) + " must be at least " + std::to_string(least) + "; got " +
                              std::to_string(stride));
    if (stride > static_cast<std::int64_t>(given.sysMem.memSize / static_cast<std::uint64_t>(size)) && size > 1)
      return wrong(where, "needs more than its " + std::to_string(given.sysMem.memSize) + " bytes of memory");
    if (stride != tensor.stride[k] || size != tensor.shape[k]) transfer.dense = false;
    transfer.stride[k] = stride;
    extent += static_cast<std::uint64_t>(stride) * static_cast<std::uint64_t>(size - 1);
    least = stride * size;
  }
  return HB_DNN_SUCCESS;
}

// The published shape, with sizes of the application's own where it leaves them open.
std::int32_t read_shape(const std::string& where, const Tensor& tensor, const hbDNNTensorShape& shape,
                        Transfer& transfer) {
  const hbDNNTensorShape& want = tensor.properties.validShape;
  if (shape.numDimensions != want.numDimensions)
    return wrong(where, "its shape is not the one that the model publishes");
  for (int k = 0; k < want.numDimensions; ++k) {
    const std::int64_t size = shape.dimensionSize[k];
    if (want.dimensionSize[k] >= 0 && size != want.dimensionSize[k])
      return wrong(where, "its shape is not the one that the model publishes");
    if (size < 1 || size > tensor.shape[k])
      return wrong(where, "dimension " + std::to_string(k) + " must be 1 to " + std::to_string(tensor.shape[k]) +
                              "; got " + std::to_string(size));
    transfer.shape[k] = size;
  }
  return HB_DNN_SUCCESS;
}

std::int32_t read_tensor(const std::string& where, const Tensor& tensor, const hbDNNTensor& given, Transfer& transfer) {
  const hbDNNTensorProperties& published = tensor.properties;
  if (const std::int32_t status = read_shape(where, tensor, given.properties.validShape, transfer)) return status;
  if (given.properties.tensorType != published.tensorType)
    return wrong(where, "its type must be " + std::to_string(published.tensorType) + "; got " +
                            std::to_string(given.properties.tensorType));
  if (!given.sysMem.virAddr) return wrong(where, "it has no memory");
  if (published.alignedByteSize >= 0 && given.sysMem.memSize < tensor.bytes)
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

// Images with a region of interest: the planes before it.
template <class Check>
std::int32_t for_each_region(std::vector<Transfer>& inputs, Check check) {
  std::size_t first = 0;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!inputs[k].tensor->may_be_smaller && !inputs[k].tensor->is_region) first = k + 1;
    if (!inputs[k].tensor->is_region) continue;
    if (first < k)
      if (const std::int32_t status = check(inputs[first], first + 1 < k ? &inputs[first + 1] : nullptr, inputs[k]))
        return status;
    first = k + 1;
  }
  return HB_DNN_SUCCESS;
}

std::int64_t rows_of(const Transfer& image) { return image.shape[image.tensor->rows]; }
std::int64_t columns_of(const Transfer& image) { return image.shape[image.tensor->rows + 1]; }

std::int32_t check_planes(const Transfer& luma, const Transfer* chroma, const Transfer&) {
  if (!chroma || (rows_of(*chroma) * 2 == rows_of(luma) && columns_of(*chroma) * 2 == columns_of(luma)))
    return HB_DNN_SUCCESS;
  return wrong("input " + chroma->tensor->name, "must have half the rows and columns of " + luma.tensor->name);
}

// The engine knows the largest image only; this is the one that is there.
std::int32_t check_region(const Transfer& luma, const Transfer*, Transfer& region) {
  const auto* ends = static_cast<const std::int32_t*>(region.dense_memory());
  for (std::int64_t n = 0; n < region.shape[0]; ++n, ends += 4)
    if (ends[0] < 0 || ends[1] < 0 || ends[2] < ends[0] || ends[3] < ends[1] || ends[2] >= columns_of(luma) ||
        ends[3] >= rows_of(luma))
      return wrong("input " + region.tensor->name,
                   "left, top, right, bottom must lie in the image of " + std::to_string(rows_of(luma)) + " rows and " +
                       std::to_string(columns_of(luma)) + " columns; got " + std::to_string(ends[0]) + ", " +
                       std::to_string(ends[1]) + ", " + std::to_string(ends[2]) + ", " + std::to_string(ends[3]));
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
    if (const std::int32_t status = for_each_region(inference.inputs, check_region)) return status;
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
    if (status == HB_DNN_SUCCESS) status = for_each_region(inference->inputs, check_planes);
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
