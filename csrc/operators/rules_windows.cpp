#include <algorithm>

#include "operators/shapes.hpp"

namespace openbpu::operators {
namespace {

constexpr std::uint32_t kF32 = bit(Type::F32);
constexpr std::int64_t kMost = 1 << 24;  // kernel, stride, dilation, padding: sums of products stay inside int64

Fault wrong_shape(const char* where = "output 0") {
  return fault(where, "must have the shape that the operator gives");
}

// Values of a list attribute, its defaults filled in.
Fault fill(const Call& call, const char* name, int dimensions, std::int64_t low, std::int64_t (&to)[3]) {
  const Integers values = call.list(name);
  if (values.size == 0) return {};
  const std::string where = std::string("attribute ") + name;
  if (values.size != dimensions) return fault(where, "must have one value per spatial dimension", values.size);
  for (int k = 0; k < dimensions; ++k) {
    if (values[k] < low || values[k] > kMost) return fault(where, "is out of range", values[k]);
    to[3 - dimensions + k] = values[k];
  }
  return {};
}

Fault fill_pads(const Call& call, Window& w) {
  const Integers pads = call.list("pads");
  if (pads.size == 0) return {};
  if (pads.size != 2 * w.dimensions)
    return fault("attribute pads", "must have two values per spatial dimension", pads.size);
  for (int k = 0; k < w.dimensions; ++k) {
    const std::int64_t before = pads[k], behind = pads[w.dimensions + k];
    if (before < -kMost || before > kMost || behind < -kMost || behind > kMost)
      return fault("attribute pads", "is out of range");
    w.before[3 - w.dimensions + k] = before;
    w.behind[3 - w.dimensions + k] = behind;
  }
  return {};
}

Fault spatial(const Tensor& x, const Tensor& y) {
  if (x.rank < 3 || x.rank > 5) return fault("input 0", "must have 1 to 3 spatial dimensions");
  return y.rank == x.rank ? Fault{} : wrong_shape();
}

// Weights [co, ci / groups, kernel...] and their bias.
Fault weights(const Call& call, std::size_t bias, Window& w, std::uint32_t types) {
  const Tensor &x = call.in(0), &k = call.in(1), &y = call.out();
  OPENBPU_CHECK(spatial(x, y));
  if (!is(k, types) || k.rank != x.rank) return fault("input 1", "must be weights of the input's rank");
  OPENBPU_CHECK(window_of(call, x, y, k.extent + 2, w));
  const std::int64_t groups = call.integer("group");
  if (groups < 1 || x.extent[1] % groups != 0 || k.extent[0] % groups != 0)
    return fault("attribute group", "must divide the channels", groups);
  if (k.extent[1] != x.extent[1] / groups) return fault("input 1", "must have the channels of a group", k.extent[1]);
  if (y.extent[0] != x.extent[0] || y.extent[1] != k.extent[0]) return wrong_shape();
  if (call.in(bias) && !has_shape(call.in(bias), k.extent[0]))
    return fault("input " + std::to_string(bias), "must have one element per output channel");
  return {};
}

}  // namespace

Fault window_of(const Call& call, const Tensor& x, const Tensor& y, const std::int64_t* kernel, Window& w) {
  OPENBPU_CHECK(spatial(x, y));
  w = Window{};
  w.dimensions = x.rank - 2;
  for (int k = 0; k < w.dimensions; ++k) {
    const int d = 3 - w.dimensions + k;
    w.in[d] = x.extent[2 + k];
    w.out[d] = y.extent[2 + k];
    if (kernel[k] < 1 || kernel[k] > kMost) return fault("kernel", "must be 1 to 2^24", kernel[k]);
    w.kernel[d] = kernel[k];
  }
  if (w.kernel[0] * w.kernel[1] > kMost || w.kernel[0] * w.kernel[1] * w.kernel[2] > kMost)
    return fault("kernel", "a window has at most 2^24 taps");
  OPENBPU_CHECK(fill(call, "strides", w.dimensions, 1, w.stride));
  OPENBPU_CHECK(fill(call, "dilations", w.dimensions, 1, w.dilation));
  return fill_pads(call, w);
}

Fault pool_window_of(const Call& call, Window& w) {
  const Tensor &x = call.in(0), &y = call.out() ? call.out() : call.out(1);
  const Integers kernel = call.list("kernel_shape");
  if (x.rank < 3 || x.rank > 5 || kernel.size != x.rank - 2)
    return fault("attribute kernel_shape", "must have one value per spatial dimension", kernel.size);
  return window_of(call, x, y, kernel.data, w);
}

namespace rules {

Fault Conv(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  Window w;
  return weights(call, 2, w, kF32);
}

Fault ConvInteger(const Call& call) {
  constexpr std::uint32_t bytes = bit(Type::I8) | bit(Type::U8);
  if (!is(call.in(0), bytes)) return fault("input 0", "must be int8 or uint8");
  if (call.out().type != Type::I32) return fault("output 0", "must be int32");
  for (std::size_t k : {std::size_t{2}, std::size_t{3}}) {
    const Tensor& zero = call.in(k);
    if (zero && zero.type != call.in(k - 2).type)
      return fault("input " + std::to_string(k), "must have the type of its tensor");
    if (zero && !is_scalar(zero) && (k == 2 || zero.elements() != call.in(1).extent[0]))
      return fault("input " + std::to_string(k), "must have one element, or one per output channel");
  }
  Window w;
  return weights(call, 99, w, bytes);
}

Fault ConvTranspose(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &x = call.in(0), &k = call.in(1), &y = call.out();
  OPENBPU_CHECK(spatial(x, y));
  if (k.rank != x.rank) return fault("input 1", "must be weights of the input's rank");
  Window w;
  OPENBPU_CHECK(window_of(call, x, y, k.extent + 2, w));
  const std::int64_t groups = call.integer("group");
  if (groups < 1 || x.extent[1] % groups != 0) return fault("attribute group", "must divide the channels", groups);
  if (k.extent[0] != x.extent[1]) return fault("input 1", "must have the input's channels", k.extent[0]);
  if (y.extent[0] != x.extent[0] || y.extent[1] != k.extent[1] * groups) return wrong_shape();
  return !call.in(2) || has_shape(call.in(2), y.extent[1])
             ? Fault{}
             : fault("input 2", "must have one element per output channel");
}

Fault DeformConv(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &x = call.in(0), &offset = call.in(2), &mask = call.in(4), &y = call.out();
  if (x.rank != 4) return fault("input 0", "must have two spatial dimensions");
  Window w;
  OPENBPU_CHECK(weights(call, 3, w, kF32));
  const std::int64_t groups = call.integer("offset_group");
  if (groups < 1 || groups > kMost || x.extent[1] % groups != 0)
    return fault("attribute offset_group", "must divide the channels", groups);
  if (!has_shape(offset, x.extent[0], groups * w.taps() * 2, y.extent[2], y.extent[3]))
    return fault("input 2", "must be [n, 2 * offset_group * taps, rows, columns]");
  return !mask || has_shape(mask, x.extent[0], groups * w.taps(), y.extent[2], y.extent[3])
             ? Fault{}
             : fault("input 4", "must be [n, offset_group * taps, rows, columns]");
}

Fault Col2Im(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32, 0, 1));
  const Tensor &x = call.in(0), &y = call.out();
  const Integers image = call.parameter(1), block = call.parameter(2);
  if (call.in(1).type != Type::I64 || call.in(2).type != Type::I64) return fault("input 1", "must be int64");
  if (x.rank != 3 || y.rank < 3 || y.rank > 5 || image.size != y.rank - 2 || block.size != image.size)
    return fault("input 0", "must be columns of 1 to 3 spatial dimensions");
  Window w;
  OPENBPU_CHECK(window_of(call, y, y, block.data, w));
  std::int64_t positions = 1;
  for (int d = 0; d < 3; ++d) {
    const std::int64_t reach = w.in[d] + w.before[d] + w.behind[d] - (w.kernel[d] - 1) * w.dilation[d] - 1;
    if (reach < 0) return fault("input 2", "must fit into the padded image");
    positions *= reach / w.stride[d] + 1;
    if (positions > std::int64_t{1} << 31) return wrong_shape();
  }
  for (std::int64_t k = 0; k < image.size; ++k)
    if (image[k] != y.extent[2 + k]) return wrong_shape();
  return x.extent[0] == y.extent[0] && x.extent[1] == y.extent[1] * w.taps() && x.extent[2] == positions
             ? Fault{}
             : wrong_shape();
}

Fault Pool(const Call& call) {
  const Tensor &x = call.in(0), &y = call.out(), &indices = call.out(1);
  const bool is_max = std::string(call.kernel->name) == "MaxPool";
  if (!is(x, is_max ? kF32 | bit(Type::I8) | bit(Type::U8) : kF32)) return fault("input 0", "must be float32");
  if (y && y.type != x.type) return fault("output 0", "must have the type of the input");
  Window w;
  OPENBPU_CHECK(pool_window_of(call, w));
  for (const Tensor* out : {&y, &indices})
    if (*out && (out->rank != x.rank || out->extent[0] != x.extent[0] || out->extent[1] != x.extent[1]))
      return wrong_shape();
  if (indices && (indices.type != Type::I64 || (y && !same_shape(y, indices))))
    return fault("output 1", "must be int64 of the output's shape");
  if (std::string(call.kernel->name) == "LpPool" && (call.integer("p") < 1 || call.integer("p") > 1000))
    return fault("attribute p", "must be 1 to 1000");
  return {};
}

Fault GlobalPool(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &x = call.in(0), &y = call.out();
  if (x.rank < 3 || y.rank != x.rank) return wrong_shape();
  for (int k = 0; k < x.rank; ++k)
    if (y.extent[k] != (k < 2 ? x.extent[k] : 1)) return wrong_shape();
  if (std::string(call.kernel->name) == "GlobalLpPool" && (call.integer("p") < 1 || call.integer("p") > 1000))
    return fault("attribute p", "must be 1 to 1000");
  return {};
}

Fault MaxUnpool(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32, 0, 1));
  for (const char* name : {"kernel_shape", "pads", "strides"})
    for (std::int64_t value : call.list(name))
      if (value < -kMost || value > kMost) return fault(std::string("attribute ") + name, "is out of range", value);
  const Tensor &x = call.in(0), &y = call.out();
  if (call.in(1).type != Type::I64 || !same_shape(x, call.in(1)))
    return fault("input 1", "must be int64 of the input's shape");
  return x.rank >= 3 && y.rank == x.rank && y.extent[0] == x.extent[0] && y.extent[1] == x.extent[1] ? Fault{}
                                                                                                     : wrong_shape();
}

Fault MaxRoiPool(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &x = call.in(0), &rois = call.in(1), &y = call.out();
  if (x.rank != 4 || rois.rank != 2 || rois.extent[1] != 5) return fault("input 1", "must be [regions, 5]");
  return y.rank == 4 && y.extent[0] == rois.extent[0] && y.extent[1] == x.extent[1] ? Fault{} : wrong_shape();
}

Fault RoiAlign(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32, 0, 2));
  const Tensor &x = call.in(0), &rois = call.in(1), &batch = call.in(2), &y = call.out();
  if (x.rank != 4 || rois.rank != 2 || rois.extent[1] != 4) return fault("input 1", "must be [regions, 4]");
  if (batch.type != Type::I64 || !has_shape(batch, rois.extent[0])) return fault("input 2", "must be int64 [regions]");
  if (call.integer("sampling_ratio") < 0 || call.integer("sampling_ratio") > 64)
    return fault("attribute sampling_ratio", "must be 0 to 64");
  return y.rank == 4 && y.extent[0] == rois.extent[0] && y.extent[1] == x.extent[1] ? Fault{} : wrong_shape();
}

Fault GridSample(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32));
  const Tensor &x = call.in(0), &grid = call.in(1), &y = call.out();
  if ((x.rank != 4 && x.rank != 5) || grid.rank != x.rank || y.rank != x.rank)
    return fault("input 0", "must have two or three spatial dimensions");
  if (x.rank == 5 && call.choice("mode") == 2) return fault("attribute mode", "cubic has two spatial dimensions");
  const int d = x.rank - 2;
  if (grid.extent[0] != x.extent[0] || grid.extent[d + 1] != d)
    return fault("input 1", "must be [n, output..., coordinates]");
  if (y.extent[0] != x.extent[0] || y.extent[1] != x.extent[1]) return wrong_shape();
  for (int k = 0; k < d; ++k)
    if (y.extent[2 + k] != grid.extent[1 + k]) return wrong_shape();
  return {};
}

Fault AffineGrid(const Call& call) {
  OPENBPU_CHECK(one_type(call, kF32, 0, 1));
  const Tensor &theta = call.in(0), &y = call.out();
  if (call.in(1).type != Type::I64) return fault("input 1", "must be int64");
  const Integers size = call.parameter(1);
  if (size.size != 4 && size.size != 5) return fault("input 1", "must have four or five values", size.size);
  const std::int64_t d = size.size - 2;
  if (!has_shape(theta, size[0], d, d + 1) || y.rank != d + 2 || y.extent[0] != size[0] || y.extent[d + 1] != d)
    return wrong_shape();
  for (std::int64_t k = 0; k < d; ++k)
    if (y.extent[1 + k] != size[2 + k]) return wrong_shape();
  return {};
}

}  // namespace rules
}  // namespace openbpu::operators
