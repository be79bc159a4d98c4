// The 16-bit forms: arithmetic and port conversions of which an operand is int16. Element types choose the form. Moves
// have none, because they compute nothing; operations that are not named here take int8 only.
#pragma once

#include "isa/reflect.hpp"
#include "support/span.hpp"

namespace openbpu::isa {

constexpr bool has_wide_form(Op op) {
  switch (op) {
    case Op::CONV2D:
    case Op::DWCONV2D:
    case Op::GCONV2D:
    case Op::TCONV2D:
    case Op::MATMUL:
    case Op::MATMULD:
    case Op::ADD:
    case Op::SUB:
    case Op::MUL:
    case Op::RESCALE:
    case Op::LUT16:
    case Op::SOFTMAX:
    case Op::LAYERNORM:
    case Op::RMSNORM:
    case Op::MAXPOOL:
    case Op::AVGPOOL:
    case Op::RESIZE_NN:
    case Op::RESIZE_BILIN:
    case Op::GATHER:
    case Op::FILL:
    case Op::QUANTIZE:
    case Op::DEQUANTIZE:
      return true;
    default:
      return false;
  }
}

// Whether the instruction is of a 16-bit form. Ids that lead nowhere count as int8.
inline bool is_wide(const Instruction& i, Span<const Surface> surfaces) {
  const auto int16 = [&](u16 id) { return id < surfaces.size() && surfaces[id].dtype == static_cast<u8>(DType::I16); };
  return has_wide_form(static_cast<Op>(i.op)) && (int16(i.in0) || int16(i.out));
}

// Which operands are set: sums and products of int16 have a table too.
constexpr u8 operands_of(const InstructionInfo& info, bool wide) {
  const bool scaled = info.op == Op::ADD || info.op == Op::SUB || info.op == Op::MUL;
  return static_cast<u8>(info.operands | (wide && scaled ? T : 0));
}

}  // namespace openbpu::isa
