// CPU operators as kernels: how they are planned, prepared and run.
//
// A kernel is written once. What is worth vector instructions it does through the primitives of Vector, which exist
// for each ISA and give the same bits on all of them (vector.hpp).
#pragma once

#include "kernels/cpu/vector.hpp"
#include "kernels/kernel.hpp"
#include "operators/shapes.hpp"

namespace openbpu::kernels::cpu {

using operators::Call;
using operators::Tensor;
using operators::Type;

// One run of a call.
struct Task {
  const Call& call;
  const Vector& vector;
  const std::uint8_t* prepared;  // Plan::packed_bytes, as prepare() left it
  std::uint8_t* scratch;         // Plan::scratch_bytes
};

struct Kernel {
  const char* name;  // of the operator
  Plan (*plan)(const Call&, const Vector&);
  // Called once, before the memory of the caller is known: operands in CONST can be read, those in IN and OUT have no
  // data. Null if packed_bytes is always 0.
  void (*prepare)(const Call&, const Vector&, std::uint8_t* prepared);
  // Computes units [begin, end); null, or what is wrong with the data.
  const char* (*run)(const Task&, std::int32_t begin, std::int32_t end);
};

// The kernel of an operator; each row of operators/kernels.def has one.
const Kernel* find_kernel(const char* name);

// Elements of a unit of element-wise work.
constexpr std::int64_t kUnitElements = 16384;

inline Plan plan_of_units(std::int64_t units, std::size_t packed = 0, std::size_t scratch = 0) {
  return {packed, scratch, static_cast<std::int32_t>(units < 1 ? 1 : units)};
}
inline Plan plan_of_elements(std::int64_t elements, std::size_t packed = 0) {
  return plan_of_units((elements + kUnitElements - 1) / kUnitElements, packed);
}

// Groups of kernels, one per file.
extern const Span<const Kernel> kMoveKernels, kGatherKernels, kSelectKernels, kUnaryKernels, kCastKernels,
    kBinaryKernels, kReduceKernels, kRowKernels, kMatMulKernels, kConvKernels, kTransposedKernels, kPoolKernels,
    kResizeKernels, kGridKernels, kSamplingKernels, kRecurrentKernels, kQuantiseKernels, kAlgebraKernels;

}  // namespace openbpu::kernels::cpu
