// Parameters of operators in a plain form: axes counted from the front, windows and ranges with all their defaults
// filled in. The rules check them and the kernels use them.
#pragma once

#include <cstdint>

#include "operators/rules.hpp"

namespace openbpu::operators {

// The range of each dimension that Slice takes.
struct SliceRange {
  std::int64_t start[kMaxRank], step[kMaxRank], count[kMaxRank];
};
Fault slice_of(const Call& call, SliceRange& range);

// Elements added before and behind each dimension by Pad; negative ones are cut off.
struct Padding {
  std::int64_t before[kMaxRank], behind[kMaxRank];
};
Fault padding_of(const Call& call, Padding& padding);

// Bit k: dimension k is reduced. `axes` empty: all.
Fault reduced_of(const Integers& axes, int rank, std::uint32_t& mask);
// The mask of a Reduce.
Fault reduced_of(const Call& call, std::uint32_t& mask);

// Windows over 1 to 3 spatial dimensions; those that an operator lacks stand in front and are trivial.
struct Window {
  int dimensions = 0;
  std::int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1};
  std::int64_t dilation[3] = {1, 1, 1}, before[3] = {0, 0, 0}, behind[3] = {0, 0, 0};
  std::int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  std::int64_t in_pixels() const { return in[0] * in[1] * in[2]; }
  std::int64_t out_pixels() const { return out[0] * out[1] * out[2]; }
};
// Geometry of an operator on x and y [n, c, spatial...] with the attributes dilations, pads, strides.
Fault window_of(const Call& call, const Tensor& x, const Tensor& y, const std::int64_t* kernel, Window& window);
// The window whose kernel is the attribute kernel_shape.
Fault pool_window_of(const Call& call, Window& window);

// Product of two matrix stacks as numpy defines it.
struct MatMulShape {
  std::int64_t m, n, k, batches;
};
Fault matmul_of(const Tensor& a, const Tensor& b, const Tensor& y, MatMulShape& shape);

// Blocks of Quantize and Dequantize: element (o, a, i) of [outer, axis, inner] has parameter
// (o * blocks + a / block) * inner_parameters + i (blocked), a (per axis) or 0.
struct QuantBlocks {
  std::int64_t outer, axis, inner, block;
  bool per_tensor, blocked;
};
Fault quant_blocks_of(const Call& call, QuantBlocks& blocks);

// ---- pieces of rules

constexpr std::uint32_t bit(Type type) { return 1u << static_cast<unsigned>(type); }
constexpr std::uint32_t kFloats = bit(Type::F32) | bit(Type::F64);
constexpr std::uint32_t kSigned = bit(Type::I8) | bit(Type::I16) | bit(Type::I32) | bit(Type::I64);
constexpr std::uint32_t kUnsigned = bit(Type::U8) | bit(Type::U16) | bit(Type::U32) | bit(Type::U64);
constexpr std::uint32_t kIntegers = kSigned | kUnsigned;
constexpr std::uint32_t kNumbers = kFloats | kIntegers;
constexpr std::uint32_t kIndices = bit(Type::I32) | bit(Type::I64);

inline bool is(const Tensor& tensor, std::uint32_t types) { return (bit(tensor.type) & types) != 0; }
inline bool is_scalar(const Tensor& tensor) { return tensor.elements() == 1; }

// Whether the tensor has exactly these extents.
template <class... Extents>
bool has_shape(const Tensor& tensor, Extents... extents) {
  const std::int64_t wanted[] = {static_cast<std::int64_t>(extents)...};
  if (tensor.rank != static_cast<int>(sizeof...(extents))) return false;
  for (int k = 0; k < tensor.rank; ++k)
    if (tensor.extent[k] != wanted[k]) return false;
  return true;
}

// The inputs, numpy-broadcast, give exactly the shape of `out`.
bool broadcasts(Span<const Tensor> inputs, const Tensor& out);

// Inputs [first, end) and the output are of one type of the set.
Fault one_type(const Call& call, std::uint32_t types, std::size_t first = 0, std::size_t end = 256);

#define OPENBPU_CHECK(expression) \
  if (Fault found = (expression)) return found

}  // namespace openbpu::operators
