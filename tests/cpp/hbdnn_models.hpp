// Small models for the tests of the C calls, loaded, with buffers.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "golden.hpp"
#include "hobot/dnn/hb_dnn.h"
#include "program_builder.hpp"

namespace openbpu::testing {

// Copies x, 1 x 8 x 8 x 16, to y through memory, in so many instructions and one.
inline Bytes chain_file(int copies, isa::DType type = isa::DType::I8) {
  ProgramBuilder b;
  constexpr Extents kShape{1, 8, 8, 16};
  constexpr std::uint64_t kBytes = 4096;  // of the widest type
  const std::uint8_t x = b.input(kShape, type), y = b.output(kShape, type);
  std::uint16_t last = b.surface(isa::Region::In, kShape, 0, x, type);
  for (int k = 0; k < copies; ++k) {
    const std::uint16_t next = b.surface(isa::Region::Ddr, kShape, static_cast<std::uint64_t>(k % 2) * kBytes, 0, type);
    b.move(isa::Op::COPY, next, last);
    last = next;
  }
  b.move(isa::Op::COPY, b.surface(isa::Region::Out, kShape, 0, y, type), last);
  return to_vector(b.finish(2 * kBytes)->file());
}

// Has one input, which it does not read.
inline Bytes unused_port_file(isa::DType type) {
  ProgramBuilder b;
  b.input({1, 2, 3, 4}, type);
  return to_vector(b.finish(0)->file());
}

// Has no ports and stops itself.
inline Bytes trap_file() {
  ProgramBuilder b;
  b.emit(isa::Op::TRAP, [](isa::Instruction& i) { i.C = 7; });
  return to_vector(b.finish(0)->file());
}

struct LoadedModel {
  explicit LoadedModel(const Bytes& file) {
    const void* data[] = {file.data()};
    std::int32_t length[] = {static_cast<std::int32_t>(file.size())};
    EXPECT_EQ(hbDNNInitializeFromDDR(&packed, data, length, 1), 0);
    const char** names = nullptr;
    std::int32_t count = 0;
    EXPECT_EQ(hbDNNGetModelNameList(&names, &count, packed), 0);
    EXPECT_EQ(hbDNNGetModelHandle(&model, packed, names[0]), 0);
  }
  ~LoadedModel() { EXPECT_EQ(hbDNNRelease(packed), 0); }
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  hbDNNPackedHandle_t packed = nullptr;
  hbDNNHandle_t model = nullptr;
};

// Tensors of a model in memory of their own; inputs hold a pattern.
struct Buffers {
  explicit Buffers(const LoadedModel& loaded, int seed = 0) : seed_(static_cast<std::uint64_t>(seed)) {
    std::int32_t count = 0;
    EXPECT_EQ(hbDNNGetInputCount(&count, loaded.model), 0);
    inputs.resize(static_cast<std::size_t>(count));
    for (std::int32_t k = 0; k < count; ++k) {
      hbDNNTensor& tensor = inputs[static_cast<std::size_t>(k)];
      EXPECT_EQ(hbDNNGetInputTensorProperties(&tensor.properties, loaded.model, k), 0);
      allocate(tensor);
      fill(tensor);
    }
    EXPECT_EQ(hbDNNGetOutputCount(&count, loaded.model), 0);
    outputs.resize(static_cast<std::size_t>(count));
    for (std::int32_t k = 0; k < count; ++k) {
      hbDNNTensor& tensor = outputs[static_cast<std::size_t>(k)];
      EXPECT_EQ(hbDNNGetOutputTensorProperties(&tensor.properties, loaded.model, k), 0);
      allocate(tensor);
    }
  }
  ~Buffers() { EXPECT_TRUE(freed_ || is_freed_by_everyone()); }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  // Writes the pattern.
  void fill(hbDNNTensor& tensor) const {
    auto* bytes = static_cast<std::uint8_t*>(tensor.sysMem.virAddr);
    const bool is_bool = tensor.properties.tensorType == HB_DNN_TENSOR_TYPE_BOOL8;
    for (std::uint64_t i = 0; i < tensor.sysMem.memSize; ++i)
      bytes[i] = static_cast<std::uint8_t>(is_bool ? i & 1 : i * 7 + seed_);
    EXPECT_EQ(hbUCPMemFlush(&tensor.sysMem, HB_SYS_MEM_CACHE_CLEAN), 0);
  }

  bool output_equals_input() const {
    return std::memcmp(inputs[0].sysMem.virAddr, outputs[0].sysMem.virAddr, inputs[0].sysMem.memSize) == 0;
  }

  // Frees all, which fails while a task holds some.
  bool is_freed_by_everyone() {
    freed_ = true;
    for (std::vector<hbDNNTensor>* tensors : {&inputs, &outputs})
      for (hbDNNTensor& tensor : *tensors)
        if (hbUCPFree(&tensor.sysMem) != 0) return false;
    return true;
  }

  std::vector<hbDNNTensor> inputs, outputs;

 private:
  static void allocate(hbDNNTensor& tensor) {
    EXPECT_EQ(hbUCPMallocCached(&tensor.sysMem, static_cast<std::uint64_t>(tensor.properties.alignedByteSize), 0), 0);
  }
  std::uint64_t seed_;
  bool freed_ = false;
};

// Submits with default parameters and waits.
inline std::int32_t run(hbUCPTaskHandle_t task) {
  hbUCPSchedParam param;
  HB_UCP_INITIALIZE_SCHED_PARAM(&param);
  const std::int32_t status = hbUCPSubmitTask(task, &param);
  return status == 0 ? hbUCPWaitTaskDone(task, 0) : status;
}

}  // namespace openbpu::testing
