// CPUCALL records of a file as calls of operators.
#pragma once

#include <vector>

#include "isa/verify.hpp"
#include "operators/call.hpp"

namespace openbpu::isa {

// Pointers lead into the sections. Tensors in CONST have their data, the others none.
struct CpuCall {
  const CpuTensor* records = nullptr;      // inputs, then outputs
  std::vector<operators::Tensor> tensors;  // the same
  operators::Call call;                    // its spans point at `tensors`: move this struct, do not copy it

  bool is_output(std::size_t k) const { return k >= call.inputs.size(); }
};

// Checks the record itself: bounds, kernel, operands one by one. Operands outside CONST are not placed.
Result<CpuCall> decode_cpu_call(const Instruction& instruction, const Sections& sections, const std::string& where);

}  // namespace openbpu::isa
