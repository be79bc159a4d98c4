// Loaded models behind checked handles.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/ucp/handles.hpp"
#include "hobot/dnn/hb_dnn.h"
#include "openbpu/runtime.hpp"

namespace openbpu::dnn {

constexpr int kMaxModels = 1024;

// An input or output as it is published. Does not move: the properties point into it.
struct Tensor {
  explicit Tensor(const runtime::Port& port);
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  std::string name;
  std::string description;  // JSON
  std::size_t element_bytes;
  std::size_t bytes;
  hbDNNTensorProperties properties{};  // -1: decided by the application for each run
  // The dense buffer of an engine.
  std::int64_t shape[HB_DNN_TENSOR_MAX_DIMENSIONS] = {};
  std::int64_t stride[HB_DNN_TENSOR_MAX_DIMENSIONS] = {};
  int rows = 0;  // the dimension of rows of an image; columns follow
  bool may_have_strides, may_be_smaller, is_region;

 private:
  float scale_;
  std::int32_t zero_point_;
};

struct Inference;

struct Model {
  runtime::Program program;
  std::string name;
  std::string description;  // metadata of the file
  std::vector<std::unique_ptr<Tensor>> inputs, outputs;

  // Guarded by mutex(). Engines and inferences that nobody uses at the moment; there are as many as were ever used at
  // once.
  int active = 0;  // inferences whose task has not ended
  std::vector<runtime::Engine> engines;
  std::vector<std::unique_ptr<Inference>> inferences;

  Model();
  ~Model();
};

struct PackedModels {
  std::vector<std::shared_ptr<Model>> models;
  std::vector<void*> handles;             // of the models
  std::vector<const char*> names;         // of the models
  std::vector<std::string> descriptions;  // of the files
};

// Guards the tables and what Model says it does.
std::mutex& mutex();

// Null for what is no live handle. Without the lock.
std::shared_ptr<Model> find_model(void* handle);
std::shared_ptr<PackedModels> find_packed(void* handle);

runtime::Result<runtime::Engine> make_engine(const Model& model);

}  // namespace openbpu::dnn
