#include <algorithm>

#include "operators/shapes.hpp"

namespace openbpu::operators {
namespace {

constexpr std::uint32_t kF32 = bit(Type::F32);
constexpr std::uint32_t kBytes = bit(Type::I8) | bit(Type::U8);

Fault wrong_shape(const char* where = "output 0") {
  return fault(where, "must have the shape that the operator gives");
}

bool is_vector(const Tensor& tensor, std::int64_t size) { return tensor.rank == 1 && tensor.extent[0] == size; }

Fault zero_point(const Call& call, std::size_t k) {
  const Tensor& zero = call.in(k);
  if (!zero) return {};
  return zero.type == call.in(k - 2).type ? Fault{}
                                          : fault("input " + std::to_string(k), "must have the type of its tensor");
}

}  // namespace

Fault reduced_of(const Integers& axes, int rank, std::uint32_t& mask) {
  mask = 0;
  for (std::int64_t axis : axes) {
    const int k = axis_of(axis, rank);
    if (k < 0) return fault("axes", "must be dimensions of the data", axis);
    mask |= 1u << k;
  }
  if (axes.size == 0) mask = (1u << rank) - 1;
  return {};
}

Fault reduced_of(const Call& call, std::uint32_t& mask) {
  const Integers axes = call.parameter(1);
  if (axes.size == 0 && call.integer("noop_with_empty_axes") != 0) return mask = 0, Fault{};
  return reduced_of(axes, call.in(0).rank, mask);
}

Fault matmul_of(const Tensor& a, const Tensor& b, const Tensor& y, MatMulShape& shape) {
  if (a.rank < 1 || b.rank < 1) return fault("input 0", "operands must have a dimension");
  shape.m = a.rank > 1 ? a.extent[a.rank - 2] : 1;
  shape.k = a.extent[a.rank - 1];
  shape.n = b.rank > 1 ? b.extent[b.rank - 1] : 1;
  if ((b.rank > 1 ? b.extent[b.rank - 2] : b.extent[0]) != shape.k)
    return fault("input 1", "must have as many rows as the first has columns");
  Tensor left = a, right = b, batch = y;
  left.rank = std::max(0, a.rank - 2);
  right.rank = std::max(0, b.rank - 2);
  batch.rank = y.rank - (a.rank > 1) - (b.rank > 1);
  if (batch.rank < 0) return wrong_shape();
  int k = batch.rank;
  if (a.rank > 1 && y.extent[k++] != shape.m) return wrong_shape();
  if (b.rank > 1 && y.extent[k] != shape.n) return wrong_shape();
  const Tensor both[] = {left, right};
  for (Tensor tensor : both)
    if (tensor.rank == 0 && !tensor) return wrong_shape();
  if (!broadcasts(both, batch)) return wrong_shape();
  shape.batches = batch.elements();
  return {};
}

namespace rules {

Fault Reduce(const Call& call) {
  const std::string name = call.kernel->name;
  const bool any = name == "ReduceMax" || name == "ReduceMin";
  OPENBPU_CHECK(one_type(call, any ? kNumbers | bit(Type::Bool) : kNumbers, 0, 1));
  if (call.in(1) && call.in(1).type != Type::I64) return fault("input 1", "must be int64");
  std::uint32_t mask = 0;
  OPENBPU_CHECK(reduced_of(call, mask));
  const Tensor &x = call.in(0), &y = call.out();
  const bool keep = call.integer("keepdims") != 0;
  int d = 0;
  for (int k = 0; k < x.rank; ++k) {
    const bool reduced = mask >> k & 1;
    if (reduced && !keep) continue;
    if (d >= y.rank || y.extent[d++] != (reduced ? 1 : x.extent[k])) return wrong_shape();
  }
  return d == y.rank ? Fault{} : wrong_shape();
}

Fault ArgReduce(const Call& call) {
  const Tensor &x = call.in(0), &y = call.out();
  if (!is(x, kNumbers)) return fault("input 0", "must be a number type");
  if (y.type != Type::I64) return fault("output 0", "must be int64");
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  const bool keep = call.integer("keepdims") != 0;
  int d = 0;
  for (int k = 0; k < x.rank; ++k) {
    if (k == axis && !keep) continue;
    if (d >= y.rank || y.extent[d++] != (k == axis ? 1 : x.extent[k])) return wrong_shape();
  }
  return d == y.rank ? Fault{} : wrong_shape();
}

Fault Cumulative(const Call& call) {
  OPENBPU_CHECK(one_type(call, kNumbers, 0, 1));
  if (call.in(1).type != Type::I64 || !is_scalar(call.in(1))) return fault("input 1", "must be one int64");
  if (axis_of(call.parameter(1)[0], call.in(0).rank) < 0) return fault("input 1", "must be a dimension of the data");
  return same_shape(call.in(0), call.out()) ? Fault{} : wrong_shape();
}

Fault Axis(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  if (axis_of(call.integer("axis"), call.in(0).rank) < 0)
    return fault("attribute axis", "must be a dimension of the data");
  if (std::string(call.kernel->name) == "LpNormalization" && (call.integer("p") < 1 || call.integer("p") > 2))
    return fault("attribute p", "must be 1 or 2", call.integer("p"));
  return same_shape(call.in(0), call.out()) ? Fault{} : wrong_shape();
}

Fault Axes(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  std::uint32_t mask;
  OPENBPU_CHECK(reduced_of(call.list("axes"), call.in(0).rank, mask));
  return same_shape(call.in(0), call.out()) ? Fault{} : wrong_shape();
}

Fault MatMul(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  MatMulShape shape;
  return matmul_of(call.in(0), call.in(1), call.out(), shape);
}

Fault Gemm(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &a = call.in(0), &b = call.in(1), &c = call.in(2), &y = call.out();
  if (a.rank != 2 || b.rank != 2) return fault("input 0", "operands must be matrices");
  const int ta = call.integer("transA") != 0, tb = call.integer("transB") != 0;
  if (a.extent[1 - ta] != b.extent[tb]) return fault("input 1", "must have as many rows as the first has columns");
  if (!has_shape(y, a.extent[ta], b.extent[1 - tb])) return wrong_shape();
  if (!c) return {};
  if (c.rank > 2) return fault("input 2", "must broadcast to the output");
  for (int k = 0; k < c.rank; ++k)
    if (c.extent[k] != 1 && c.extent[k] != y.extent[2 - c.rank + k])
      return fault("input 2", "must broadcast to the output");
  return {};
}

Fault Einsum(const Call& call) {
  OPENBPU_CHECK(one_type(call, kFloats));
  const Integers labels = call.list("labels");
  std::int64_t extent[32] = {};
  std::int64_t next = 0;
  std::uint32_t summed = 0, kept = 0;
  const auto take = [&](const Tensor& tensor, std::uint32_t& seen) {
    for (int k = 0; k < tensor.rank; ++k, ++next) {
      if (next >= labels.size || labels[next] < 0 || labels[next] > 31) return false;
      std::int64_t& known = extent[labels[next]];
      if (known == 0) known = tensor.extent[k];
      if (known != tensor.extent[k]) return false;
      seen |= 1u << labels[next];
    }
    return true;
  };
  for (std::size_t k = 0; k < call.inputs.size(); ++k)
    if (!call.in(k) || !take(call.in(k), summed))
      return fault("attribute labels", "must give each dimension a number, and equal numbers equal extents");
  if (!take(call.out(), kept) || next != labels.size || (kept & ~summed) != 0)
    return fault("attribute labels", "of the output must be among those of the inputs");
  std::int64_t total = 1;
  for (std::int64_t e : extent)
    if (e > 0) {
      if (total > (std::int64_t{1} << 40) / e)
        return fault("attribute labels", "the product of all extents must be at most 2^40");
      total *= e;
    }
  return {};
}

Fault MatMulInteger(const Call& call) {
  for (std::size_t k : {std::size_t{0}, std::size_t{1}})
    if (!is(call.in(k), kBytes)) return fault("input " + std::to_string(k), "must be int8 or uint8");
  OPENBPU_CHECK(zero_point(call, 2));
  OPENBPU_CHECK(zero_point(call, 3));
  if (call.out().type != Type::I32) return fault("output 0", "must be int32");
  MatMulShape shape;
  OPENBPU_CHECK(matmul_of(call.in(0), call.in(1), call.out(), shape));
  const Tensor &a = call.in(2), &b = call.in(3);
  if (a && !is_scalar(a) && a.elements() != shape.m) return fault("input 2", "must have one element or one per row");
  if (b && !is_scalar(b) && b.elements() != shape.n) return fault("input 3", "must have one element or one per column");
  return {};
}

Fault Det(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &x = call.in(0), &y = call.out();
  if (x.rank < 2 || x.extent[x.rank - 1] != x.extent[x.rank - 2]) return fault("input 0", "must be square matrices");
  if (y.rank != x.rank - 2) return wrong_shape();
  for (int k = 0; k < y.rank; ++k)
    if (y.extent[k] != x.extent[k]) return wrong_shape();
  return {};
}

Fault BatchNormalization(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor& x = call.in(0);
  if (!same_shape(x, call.out())) return wrong_shape();
  const std::int64_t channels = x.rank > 1 ? x.extent[1] : 1;
  for (std::size_t k = 1; k < 5; ++k)
    if (!is_vector(call.in(k), channels))
      return fault("input " + std::to_string(k), "must have one element per channel");
  return {};
}

Fault LayerNormalization(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor& x = call.in(0);
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  if (call.out() && !same_shape(x, call.out())) return wrong_shape();
  for (std::size_t k : {std::size_t{1}, std::size_t{2}}) {  // numpy broadcast to the normalised dimensions
    const Tensor& p = call.in(k);
    if (!p) continue;
    if (p.rank > x.rank - axis)
      return fault("input " + std::to_string(k), "must broadcast to the normalised dimensions");
    for (int d = 0; d < p.rank; ++d)
      if (p.extent[d] != 1 && p.extent[d] != x.extent[x.rank - p.rank + d])
        return fault("input " + std::to_string(k), "must broadcast to the normalised dimensions");
  }
  for (std::size_t k : {std::size_t{1}, std::size_t{2}})
    if (call.out(k) && (call.out(k).type != Type::F32 || call.out(k).elements() != x.product(0, axis)))
      return wrong_shape("output 1");
  return {};
}

Fault ChannelNormalization(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor& x = call.in(0);
  if (x.rank < 2) return fault("input 0", "must have a channel dimension");
  if (!same_shape(x, call.out())) return wrong_shape();
  for (std::size_t k : {std::size_t{1}, std::size_t{2}})
    if (!is_vector(call.in(k), x.extent[1]))
      return fault("input " + std::to_string(k), "must have one element per channel");
  if (std::string(call.kernel->name) != "GroupNormalization") return {};
  const std::int64_t groups = call.integer("num_groups");
  return groups >= 1 && x.extent[1] % groups == 0 ? Fault{}
                                                  : fault("attribute num_groups", "must divide the channels", groups);
}

Fault Lrn(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  if (call.in(0).rank < 2) return fault("input 0", "must have a channel dimension");
  if (call.integer("size") < 1 || call.integer("size") > 65535) return fault("attribute size", "must be 1 to 65535");
  return same_shape(call.in(0), call.out()) ? Fault{} : wrong_shape();
}

}  // namespace rules

namespace {

Fault quant_blocks(const Call& call, const Tensor& x, QuantBlocks& b) {
  const Tensor& scale = call.in(1);
  const std::int64_t block = call.integer("block_size");
  b = {1, 1, x.elements(), 1, true, false};
  if (block == 0 && is_scalar(scale) && scale.rank < 2) return {};
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  b = {x.product(0, axis), x.extent[axis], x.product(axis + 1, x.rank), 1, false, block != 0};
  if (block == 0)
    return is_vector(scale, b.axis) ? Fault{} : fault("input 1", "must have one element, or one per slice of the axis");
  if (block < 1 || block > b.axis) return fault("attribute block_size", "must be 1 to the extent of the axis", block);
  b.block = block;
  if (scale.rank != x.rank) return fault("input 1", "must have the rank of the data");
  for (int k = 0; k < x.rank; ++k)
    if (scale.extent[k] != (k == axis ? (b.axis + block - 1) / block : x.extent[k]))
      return fault("input 1", "must have one element per block");
  return {};
}

}  // namespace

Fault quant_blocks_of(const Call& call, QuantBlocks& blocks) { return quant_blocks(call, call.in(0), blocks); }

namespace rules {

Fault Quantize(const Call& call) {
  if (!is(call.in(0), kF32 | bit(Type::I32))) return fault("input 0", "must be float32 or int32");
  if (call.in(1).type != Type::F32) return fault("input 1", "must be float32");
  const Tensor &zero = call.in(2), &y = call.out();
  if (!is(y, bit(Type::I8) | bit(Type::U8) | bit(Type::I16) | bit(Type::U16)))
    return fault("output 0", "must be an integer of 8 or 16 bits");
  if (zero && (zero.type != y.type || !same_shape(zero, call.in(1))))
    return fault("input 2", "must match scale and output");
  if (!same_shape(call.in(0), y)) return wrong_shape();
  QuantBlocks blocks;
  return quant_blocks(call, call.in(0), blocks);
}

Fault Dequantize(const Call& call) {
  if (!is(call.in(0), bit(Type::I8) | bit(Type::U8) | bit(Type::I16) | bit(Type::U16) | bit(Type::I32)))
    return fault("input 0", "must be int8, uint8, int16, uint16 or int32");
  if (call.in(1).type != Type::F32) return fault("input 1", "must be float32");
  if (call.in(2) && (call.in(2).type != call.in(0).type || !same_shape(call.in(2), call.in(1))))
    return fault("input 2", "must match scale and data");
  if (call.out().type != Type::F32) return fault("output 0", "must be float32");
  if (!same_shape(call.in(0), call.out())) return wrong_shape();
  QuantBlocks blocks;
  return quant_blocks(call, call.in(0), blocks);
}

Fault DynamicQuantize(const Call& call) {
  if (call.in(0).type != Type::F32) return fault("input 0", "must be float32");
  for (std::size_t k = 0; k < 3; ++k)
    if (!call.out(k)) return fault("output " + std::to_string(k), "must be there");
  if (call.out(0).type != Type::U8 || !same_shape(call.in(0), call.out(0)))
    return fault("output 0", "must be uint8 of the input's shape");
  if (call.out(1).type != Type::F32 || call.out(1).rank != 0)
    return fault("output 1", "must be float32 without dimensions");
  return call.out(2).type == Type::U8 && call.out(2).rank == 0 ? Fault{}
                                                               : fault("output 2", "must be uint8 without dimensions");
}

}  // namespace rules
}  // namespace openbpu::operators
