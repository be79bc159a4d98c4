// What a call must satisfy before it may run. A call that passes reads and writes inside its operands, whatever the
// data; indices that are data are checked while it runs.
#pragma once

#include <cstdint>
#include <string>

#include "operators/call.hpp"

namespace openbpu::operators {

// A breach: the operand or attribute, and the rule. No text: all is well.
struct Fault {
  std::string where, rule;
  explicit operator bool() const { return !rule.empty(); }
};

inline Fault fault(std::string where, std::string rule) { return {std::move(where), std::move(rule)}; }
inline Fault fault(std::string where, const char* rule, std::int64_t seen) {
  return {std::move(where), std::string(rule) + "; it is " + std::to_string(seen)};
}

// Number of operands and form of the attributes; then the rule of the kernel. Extents are positive and products of
// extents below 2^31; parameter inputs have data.
Fault check(const Call& call);

// Multiply-accumulates of a call that check() has accepted.
std::uint64_t macs(const Call& call);

// Elements that it touches, about, for estimates of time and limits of tests.
std::uint64_t work(const Call& call);

// ---- rules by name, as kernels.def gives them
namespace rules {
#define RULE(name) Fault name(const Call& call);
RULE(Copy)
RULE(Cast)
RULE(Transpose)
RULE(Concat)
RULE(Split)
RULE(Slice)
RULE(Pad)
RULE(Expand)
RULE(Tile)
RULE(Gather)
RULE(GatherElements)
RULE(GatherND)
RULE(ScatterElements)
RULE(ScatterND)
RULE(OneHot)
RULE(DepthToSpace)
RULE(SpaceToDepth)
RULE(Trilu)
RULE(ReverseSequence)
RULE(Compress)
RULE(NonZero)
RULE(Unique)
RULE(TopK)
RULE(NonMaxSuppression)
RULE(Where)
RULE(UnaryNumber)
RULE(UnaryFloat)
RULE(UnaryBool)
RULE(UnaryInteger)
RULE(UnaryTest)
RULE(Clip)
RULE(BinaryNumber)
RULE(Pow)
RULE(Variadic)
RULE(BinaryBool)
RULE(BinaryInteger)
RULE(Comparison)
RULE(Reduce)
RULE(ArgReduce)
RULE(Cumulative)
RULE(MatMul)
RULE(Gemm)
RULE(Einsum)
RULE(Conv)
RULE(ConvTranspose)
RULE(DeformConv)
RULE(Col2Im)
RULE(MatMulInteger)
RULE(ConvInteger)
RULE(Det)
RULE(Recurrent)
RULE(Pool)
RULE(GlobalPool)
RULE(MaxUnpool)
RULE(MaxRoiPool)
RULE(RoiAlign)
RULE(Resize)
RULE(GridSample)
RULE(AffineGrid)
RULE(BatchNormalization)
RULE(LayerNormalization)
RULE(ChannelNormalization)
RULE(Lrn)
RULE(Axis)
RULE(Axes)
RULE(Quantize)
RULE(Dequantize)
RULE(DynamicQuantize)
#undef RULE
}  // namespace rules

}  // namespace openbpu::operators
