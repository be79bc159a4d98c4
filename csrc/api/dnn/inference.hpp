// One use of a model in a task.
#pragma once

#include <memory>
#include <vector>

#include "api/dnn/models.hpp"
#include "api/ucp/ucp.hpp"

namespace openbpu::dnn {

// Where a port's elements lie in the application's memory.
struct Transfer {
  const Tensor* tensor = nullptr;
  unsigned char* memory = nullptr;
  bool dense = true;
  std::int64_t shape[HB_DNN_TENSOR_MAX_DIMENSIONS] = {};
  std::int64_t stride[HB_DNN_TENSOR_MAX_DIMENSIONS] = {};
  std::vector<unsigned char> staging;  // the dense form of what is not dense, or not aligned
  ucp::Allocation* allocation = nullptr;

  void* dense_memory() { return dense ? memory : staging.data(); }
};

struct Inference {
  std::shared_ptr<Model> model;  // null while nobody uses the inference
  std::vector<Transfer> inputs, outputs;
  std::vector<const void*> from;
  std::vector<void*> to;
};

}  // namespace openbpu::dnn
