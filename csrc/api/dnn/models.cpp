#include "api/dnn/models.hpp"

#include <cstdio>

#include "api/dnn/inference.hpp"
#include "api/ucp/fork_safe_mutex.hpp"
#include "api/ucp/ucp.hpp"

namespace openbpu::dnn {
namespace {

using Lock = std::unique_lock<std::mutex>;
using ucp::fail;

hbDNNDataType type_of(runtime::DataType type) {
  switch (type) {
    case runtime::DataType::Int8:
      return HB_DNN_TENSOR_TYPE_S8;
    case runtime::DataType::UInt8:
      return HB_DNN_TENSOR_TYPE_U8;
    case runtime::DataType::Int16:
      return HB_DNN_TENSOR_TYPE_S16;
    case runtime::DataType::Int32:
      return HB_DNN_TENSOR_TYPE_S32;
    case runtime::DataType::Float32:
      return HB_DNN_TENSOR_TYPE_F32;
    case runtime::DataType::Int64:
      return HB_DNN_TENSOR_TYPE_S64;
    case runtime::DataType::Bool:
      return HB_DNN_TENSOR_TYPE_BOOL8;
    case runtime::DataType::UInt16:
      return HB_DNN_TENSOR_TYPE_U16;
    case runtime::DataType::UInt32:
      return HB_DNN_TENSOR_TYPE_U32;
    case runtime::DataType::UInt64:
      return HB_DNN_TENSOR_TYPE_U64;
    case runtime::DataType::Float16:
      return HB_DNN_TENSOR_TYPE_F16;
    case runtime::DataType::Float64:
      return HB_DNN_TENSOR_TYPE_F64;
  }
  return HB_DNN_TENSOR_TYPE_MAX;
}

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      result += escape;
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string describe(const runtime::Port& port) {
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, "\"scale\": %.17g, \"zero_point\": %d", port.scale, port.zero_point);
  std::string shape;
  for (std::uint32_t k = 0; k < port.rank; ++k) shape += (k ? ", " : "") + std::to_string(port.shape[k]);
  return "{\"name\": " + quoted(port.name) + ", \"shape\": [" + shape + "], " + numbers + "}";
}

struct ModelsTag;

struct ModelSlot {
  std::shared_ptr<Model> model;
};
struct PackedSlot {
  std::shared_ptr<PackedModels> packed;
};

// Both tables live as long as the process.
ucp::Handles<ModelSlot>& model_handles() {
  static auto& all = *new ucp::Handles<ModelSlot>(ucp::HandleKind::Model, kMaxModels);
  return all;
}
ucp::Handles<PackedSlot>& packed_handles() {
  static auto& all = *new ucp::Handles<PackedSlot>(ucp::HandleKind::PackedModels, kMaxModels);
  return all;
}

void release_models(const PackedModels& packed) {
  for (void* handle : packed.handles) {
    model_handles().find(handle)->model.reset();
    model_handles().release(handle);
  }
}

std::int32_t load_status(const char* function, const std::string& what, const runtime::Status& status) {
  const bool is_limit = status.code() == runtime::ErrorCode::BadArgument;  // of the size of a file
  return fail(is_limit ? std::int32_t{HB_DNN_INVALID_MODEL} : ucp::status_of(status), function,
              what + ": " + status.where() + ": " + status.message());
}

std::int32_t add_models(const char* function, const std::string& what, const runtime::Program& program,
                        PackedModels& packed) {
  packed.descriptions.emplace_back(program.metadata());
  for (std::size_t k = 0; k < program.model_count(); ++k) {
    auto model = std::make_shared<Model>();
    model->program = program;
    model->name = program.model_name(k);
    model->description = packed.descriptions.back();
    for (const std::shared_ptr<Model>& other : packed.models)
      if (other->name == model->name)
        return fail(HB_DNN_INVALID_MODEL, function, what + ": the model " + model->name + " is there twice");
    const auto inputs = program.inputs(model->name), outputs = program.outputs(model->name);
    if (!inputs.ok()) return load_status(function, what, inputs.status());
    if (!outputs.ok()) return load_status(function, what, outputs.status());
    for (const runtime::Port& port : inputs.value()) model->inputs.push_back(std::make_unique<Tensor>(port));
    for (const runtime::Port& port : outputs.value()) model->outputs.push_back(std::make_unique<Tensor>(port));
    runtime::Result<runtime::Engine> engine = make_engine(*model);
    if (!engine.ok()) return load_status(function, what, engine.status());
    model->engines.push_back(std::move(engine.value()));
    packed.models.push_back(std::move(model));
  }
  return HB_DNN_SUCCESS;
}

std::int32_t publish(const char* function, std::shared_ptr<PackedModels> packed, hbDNNPackedHandle_t* handle) {
  const auto any = [](const auto&) { return true; };
  packed->handles.reserve(packed->models.size());
  for (const std::shared_ptr<Model>& model : packed->models) packed->names.push_back(model->name.c_str());
  Lock lock(mutex());
  for (const std::shared_ptr<Model>& model : packed->models) {
    void* model_handle = nullptr;
    ModelSlot* slot = model_handles().take(model_handle, any);
    if (!slot) break;
    slot->model = model;
    packed->handles.push_back(model_handle);
  }
  void* packed_handle = nullptr;
  PackedSlot* slot =
      packed->handles.size() == packed->models.size() ? packed_handles().take(packed_handle, any) : nullptr;
  if (!slot) {
    release_models(*packed);
    lock.unlock();
    return fail(HB_UCP_MODEL_NUMBER_EXCEED, function, "at most " + std::to_string(kMaxModels) + " models");
  }
  slot->packed = std::move(packed);
  *handle = packed_handle;
  return HB_DNN_SUCCESS;
}

// `load` gives the k-th program and sets its name for messages.
template <class Load>
std::int32_t initialise(const char* function, hbDNNPackedHandle_t* handle, const void* sources, std::int32_t count,
                        Load load) {
  return ucp::call(function, [&]() -> std::int32_t {
    if (!handle || !sources) return fail(HB_DNN_INVALID_ARGUMENT, function, "an argument is null");
    if (count <= 0)
      return fail(HB_DNN_INVALID_ARGUMENT, function, "needs at least one model; got " + std::to_string(count));
    auto packed = std::make_shared<PackedModels>();
    packed->descriptions.reserve(static_cast<std::size_t>(count));
    for (std::int32_t k = 0; k < count; ++k) {
      std::string what = "model " + std::to_string(k);
      const runtime::Result<runtime::Program> program = load(k, what);
      if (!program.ok() && program.status().code() == runtime::ErrorCode::BadArgument &&
          program.status().where().empty())
        return fail(HB_DNN_INVALID_ARGUMENT, function, what + ": " + program.status().message());
      if (!program.ok()) return load_status(function, what, program.status());
      if (const std::int32_t wrong = add_models(function, what, program.value(), *packed)) return wrong;
    }
    return publish(function, std::move(packed), handle);
  });
}

runtime::Status missing(const char* message) { return {runtime::ErrorCode::BadArgument, "", message}; }

}  // namespace

Tensor::Tensor(const runtime::Port& port)
    : name(port.name),
      description(describe(port)),
      element_bytes(runtime::size_of(port.type)),
      bytes(port.bytes),
      may_have_strides(port.may_have_strides),
      may_be_smaller(port.may_be_smaller),
      is_region(port.is_region),
      scale_(static_cast<float>(port.scale)),
      zero_point_(port.zero_point) {
  properties.tensorType = type_of(port.type);
  properties.validShape.numDimensions = static_cast<std::int32_t>(port.rank);
  auto step = static_cast<std::int64_t>(element_bytes);
  for (std::uint32_t k = port.rank; k-- > 0;) {
    properties.validShape.dimensionSize[k] = static_cast<std::int32_t>(port.shape[k]);
    properties.stride[k] = stride[k] = step;
    shape[k] = port.shape[k];
    step *= port.shape[k];
  }
  properties.alignedByteSize = static_cast<std::int64_t>(port.bytes);
  if (may_have_strides || may_be_smaller) {
    rows = port.shape[1] == 1 ? 2 : 1;  // of a plane, or of pixels
    properties.alignedByteSize = -1;
    for (int k = 0; k <= rows; ++k) properties.stride[k] = -1;
  }
  if (may_be_smaller)
    for (const int k : {rows, rows + 1}) properties.validShape.dimensionSize[k] = -1;
  if (port.scale == 0) return;
  properties.quantiType = SCALE;
  properties.scale = {1, &scale_, 1, &zero_point_};
}

Model::Model() = default;
Model::~Model() = default;

std::mutex& mutex() { return ucp::fork_safe_mutex<ModelsTag>(); }

std::shared_ptr<Model> find_model(void* handle) {
  Lock lock(mutex());
  const ModelSlot* slot = model_handles().find(handle);
  return slot ? slot->model : nullptr;
}

std::shared_ptr<PackedModels> find_packed(void* handle) {
  Lock lock(mutex());
  const PackedSlot* slot = packed_handles().find(handle);
  return slot ? slot->packed : nullptr;
}

runtime::Result<runtime::Engine> make_engine(const Model& model) {
  runtime::EngineOptions options;
  options.model = model.name;
  options.threads = 0;  // of which a task uses those that its cores stand for
  return runtime::Engine::create(model.program, options);
}

}  // namespace openbpu::dnn

using namespace openbpu::dnn;

int32_t hbDNNInitializeFromFiles(hbDNNPackedHandle_t* dnnPackedHandle, char const** modelFileNames,
                                 int32_t modelFileCount) {
  using openbpu::runtime::Program;
  return initialise("hbDNNInitializeFromFiles", dnnPackedHandle, modelFileNames, modelFileCount,
                    [&](std::int32_t k, std::string& what) -> openbpu::runtime::Result<Program> {
                      if (!modelFileNames[k]) return missing("the file name is null");
                      what = modelFileNames[k];
                      return Program::from_file(what);
                    });
}

int32_t hbDNNInitializeFromDDR(hbDNNPackedHandle_t* dnnPackedHandle, const void** modelData, int32_t* modelDataLengths,
                               int32_t modelDataCount) {
  using openbpu::runtime::Program;
  return initialise("hbDNNInitializeFromDDR", dnnPackedHandle, modelDataLengths ? modelData : nullptr, modelDataCount,
                    [&](std::int32_t k, std::string&) -> openbpu::runtime::Result<Program> {
                      if (!modelData[k]) return missing("the data are null");
                      if (modelDataLengths[k] <= 0) return missing("the length must be positive");
                      return Program::from_memory(modelData[k], static_cast<std::size_t>(modelDataLengths[k]));
                    });
}

int32_t hbDNNRelease(hbDNNPackedHandle_t dnnPackedHandle) {
  constexpr const char* kFunction = "hbDNNRelease";
  return openbpu::ucp::call(kFunction, [&]() -> std::int32_t {
    std::shared_ptr<PackedModels> packed;  // goes without the lock
    Lock lock(mutex());
    PackedSlot* slot = packed_handles().find(dnnPackedHandle);
    if (!slot) {
      lock.unlock();
      return fail(HB_DNN_INVALID_ARGUMENT, kFunction, "the models do not exist, or are already released");
    }
    for (const std::shared_ptr<Model>& model : slot->packed->models)
      if (model->active > 0) {
        lock.unlock();
        return fail(HB_DNN_MODEL_IS_RUNNING, kFunction, "a task that has not ended uses a model");
      }
    packed = std::move(slot->packed);
    release_models(*packed);
    packed_handles().release(dnnPackedHandle);
    lock.unlock();
    return HB_DNN_SUCCESS;
  });
}
