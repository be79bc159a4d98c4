// What the models say of themselves.
#include "api/dnn/models.hpp"
#include "api/ucp/ucp.hpp"

namespace openbpu::dnn {
namespace {

using ucp::fail;

std::int32_t is_null(const char* function) { return fail(HB_DNN_INVALID_ARGUMENT, function, "an argument is null"); }

// Calls `look` on the model; fails for a null result pointer or an unknown handle.
template <class Look>
std::int32_t with_model(const char* function, const void* result, hbDNNHandle_t handle, Look look) {
  return ucp::call(function, [&]() -> std::int32_t {
    if (!result) return is_null(function);
    const std::shared_ptr<Model> model = find_model(handle);
    if (!model) return fail(HB_DNN_INVALID_ARGUMENT, function, "the model does not exist, or is already released");
    return look(*model);
  });
}

template <class Look>
std::int32_t with_packed(const char* function, const void* result, hbDNNPackedHandle_t handle, Look look) {
  return ucp::call(function, [&]() -> std::int32_t {
    if (!result) return is_null(function);
    const std::shared_ptr<PackedModels> packed = find_packed(handle);
    if (!packed) return fail(HB_DNN_INVALID_ARGUMENT, function, "the models do not exist, or are already released");
    return look(*packed);
  });
}

using Tensors = std::vector<std::unique_ptr<Tensor>> Model::*;

template <class Look>
std::int32_t with_tensor(const char* function, const void* result, hbDNNHandle_t handle, Tensors list,
                         std::int32_t index, Look look) {
  return with_model(function, result, handle, [&](const Model& model) -> std::int32_t {
    const auto& tensors = model.*list;
    if (index < 0 || static_cast<std::size_t>(index) >= tensors.size())
      return fail(HB_DNN_INVALID_ARGUMENT, function,
                  "index " + std::to_string(index) + " of " + std::to_string(tensors.size()));
    look(*tensors[static_cast<std::size_t>(index)]);
    return HB_DNN_SUCCESS;
  });
}

void give(const std::string& text, char const** desc, std::uint32_t* size, std::int32_t* type) {
  *desc = text.c_str();
  *size = static_cast<std::uint32_t>(text.size());
  *type = text.empty() ? HB_DNN_DESC_TYPE_UNKNOWN : HB_DNN_DESC_TYPE_STRING;
}

// Null if one of the three is.
const void* all_of(const void* a, const void* b, const void* c) { return a && b ? c : nullptr; }

std::int32_t count(const char* function, std::int32_t* result, hbDNNHandle_t handle, Tensors list) {
  return with_model(function, result, handle, [&](const Model& model) -> std::int32_t {
    *result = static_cast<std::int32_t>((model.*list).size());
    return HB_DNN_SUCCESS;
  });
}

std::int32_t name(const char* function, char const** result, hbDNNHandle_t handle, Tensors list, std::int32_t index) {
  return with_tensor(function, result, handle, list, index,
                     [&](const Tensor& tensor) { *result = tensor.name.c_str(); });
}

std::int32_t properties(const char* function, hbDNNTensorProperties* result, hbDNNHandle_t handle, Tensors list,
                        std::int32_t index) {
  return with_tensor(function, result, handle, list, index, [&](const Tensor& tensor) { *result = tensor.properties; });
}

}  // namespace
}  // namespace openbpu::dnn

using namespace openbpu::dnn;

const char* hbDNNGetVersion(void) { return openbpu::runtime::version(); }

int32_t hbDNNGetModelNameList(char const*** modelNameList, int32_t* modelNameCount,
                              hbDNNPackedHandle_t dnnPackedHandle) {
  return with_packed("hbDNNGetModelNameList", modelNameCount ? modelNameList : nullptr, dnnPackedHandle,
                     [&](PackedModels& packed) -> std::int32_t {
                       *modelNameList = packed.names.data();
                       *modelNameCount = static_cast<std::int32_t>(packed.names.size());
                       return HB_DNN_SUCCESS;
                     });
}

int32_t hbDNNGetModelHandle(hbDNNHandle_t* dnnHandle, hbDNNPackedHandle_t dnnPackedHandle, char const* modelName) {
  constexpr const char* kFunction = "hbDNNGetModelHandle";
  return with_packed(kFunction, modelName ? dnnHandle : nullptr, dnnPackedHandle,
                     [&](const PackedModels& packed) -> std::int32_t {
                       for (std::size_t k = 0; k < packed.models.size(); ++k)
                         if (packed.models[k]->name == modelName) {
                           *dnnHandle = packed.handles[k];
                           return HB_DNN_SUCCESS;
                         }
                       return fail(HB_DNN_INVALID_ARGUMENT, kFunction, std::string("there is no model ") + modelName);
                     });
}

int32_t hbDNNGetInputCount(int32_t* inputCount, hbDNNHandle_t dnnHandle) {
  return count("hbDNNGetInputCount", inputCount, dnnHandle, &Model::inputs);
}

int32_t hbDNNGetOutputCount(int32_t* outputCount, hbDNNHandle_t dnnHandle) {
  return count("hbDNNGetOutputCount", outputCount, dnnHandle, &Model::outputs);
}

int32_t hbDNNGetInputName(char const** inputName, hbDNNHandle_t dnnHandle, int32_t inputIndex) {
  return name("hbDNNGetInputName", inputName, dnnHandle, &Model::inputs, inputIndex);
}

int32_t hbDNNGetOutputName(char const** outputName, hbDNNHandle_t dnnHandle, int32_t outputIndex) {
  return name("hbDNNGetOutputName", outputName, dnnHandle, &Model::outputs, outputIndex);
}

int32_t hbDNNGetInputTensorProperties(hbDNNTensorProperties* tensorProperties, hbDNNHandle_t dnnHandle,
                                      int32_t inputIndex) {
  return properties("hbDNNGetInputTensorProperties", tensorProperties, dnnHandle, &Model::inputs, inputIndex);
}

int32_t hbDNNGetOutputTensorProperties(hbDNNTensorProperties* tensorProperties, hbDNNHandle_t dnnHandle,
                                       int32_t outputIndex) {
  return properties("hbDNNGetOutputTensorProperties", tensorProperties, dnnHandle, &Model::outputs, outputIndex);
}

int32_t hbDNNGetInputDesc(char const** desc, uint32_t* size, int32_t* type, hbDNNHandle_t dnnHandle,
                          int32_t inputIndex) {
  return with_tensor("hbDNNGetInputDesc", all_of(desc, size, type), dnnHandle, &Model::inputs, inputIndex,
                     [&](const Tensor& tensor) { give(tensor.description, desc, size, type); });
}

int32_t hbDNNGetOutputDesc(char const** desc, uint32_t* size, int32_t* type, hbDNNHandle_t dnnHandle,
                           int32_t outputIndex) {
  return with_tensor("hbDNNGetOutputDesc", all_of(desc, size, type), dnnHandle, &Model::outputs, outputIndex,
                     [&](const Tensor& tensor) { give(tensor.description, desc, size, type); });
}

int32_t hbDNNGetModelDesc(char const** desc, uint32_t* size, int32_t* type, hbDNNHandle_t dnnHandle) {
  return with_model("hbDNNGetModelDesc", all_of(desc, size, type), dnnHandle, [&](const Model& model) -> std::int32_t {
    give(model.description, desc, size, type);
    return HB_DNN_SUCCESS;
  });
}

int32_t hbDNNGetHBMDesc(char const** desc, uint32_t* size, int32_t* type, hbDNNPackedHandle_t dnnPackedHandle,
                        int32_t index) {
  constexpr const char* kFunction = "hbDNNGetHBMDesc";
  return with_packed(kFunction, all_of(desc, size, type), dnnPackedHandle,
                     [&](const PackedModels& packed) -> std::int32_t {
                       if (index < 0 || static_cast<std::size_t>(index) >= packed.descriptions.size())
                         return fail(HB_DNN_INVALID_ARGUMENT, kFunction, "there is no file " + std::to_string(index));
                       give(packed.descriptions[static_cast<std::size_t>(index)], desc, size, type);
                       return HB_DNN_SUCCESS;
                     });
}

int32_t hbDNNGetCompileBpuCoreNum(int32_t* num, hbDNNHandle_t dnnHandle) {
  return with_model("hbDNNGetCompileBpuCoreNum", num, dnnHandle, [&](const Model&) -> std::int32_t {
    *num = 1;
    return HB_DNN_SUCCESS;
  });
}
