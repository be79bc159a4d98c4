#include <algorithm>

#include "operators/shapes.hpp"

namespace openbpu::operators {
namespace {

constexpr std::int64_t kFar = std::int64_t{1} << 40;  // parameters beyond are cut to it: sums stay inside int64

constexpr std::int64_t kLongest = std::int64_t{1} << 31;  // a longer step leaves every extent too

std::int64_t near(std::int64_t value) { return std::clamp(value, -kFar, kFar); }

Fault same_types(const Call& call) { return one_type(call, ~0u, 0, 1); }

Fault wrong_shape() { return fault("output 0", "must have the shape that the operator gives"); }

// Extents of `a` and `b` agree in the dimensions outside `axis`.
bool agree_but(const Tensor& a, const Tensor& b, int axis) {
  if (a.rank != b.rank) return false;
  for (int k = 0; k < a.rank; ++k)
    if (k != axis && a.extent[k] != b.extent[k]) return false;
  return true;
}

// The shape of `out` is that of the pieces one after another.
struct Piece {
  const Tensor& tensor;
  int first, end;
};
bool is_joined(const Tensor& out, std::initializer_list<Piece> pieces) {
  int k = 0;
  for (const Piece& piece : pieces)
    for (int d = piece.first; d < piece.end; ++d, ++k)
      if (k >= out.rank || out.extent[k] != piece.tensor.extent[d]) return false;
  return k == out.rank;
}

Fault parameter(const Call& call, std::size_t k, std::int64_t size) {
  const std::string where = "input " + std::to_string(k);
  if (call.in(k).type != Type::I64) return fault(where, "must be int64");
  return call.in(k).elements() == size ? Fault{} : fault(where, "has another number of values", call.in(k).elements());
}

Fault index_type(const Call& call, std::size_t k) {
  return is(call.in(k), kIndices) ? Fault{} : fault("input " + std::to_string(k), "must be int32 or int64");
}

}  // namespace

Fault slice_of(const Call& call, SliceRange& range) {
  const Tensor& x = call.in(0);
  for (int k = 0; k < x.rank; ++k) range.start[k] = 0, range.step[k] = 1, range.count[k] = x.extent[k];
  const Integers starts = call.parameter(1), ends = call.parameter(2), axes = call.parameter(3),
                 steps = call.parameter(4);
  for (std::int64_t i = 0; i < starts.size; ++i) {
    const int axis = axis_of(axes.data ? axes[i] : i, x.rank);
    if (axis < 0) return fault("input 3", "must be axes of the data");
    const std::int64_t size = x.extent[axis], step = steps.data ? std::clamp(steps[i], -kLongest, kLongest) : 1;
    if (step == 0) return fault("input 4", "steps must not be zero");
    const auto place = [&](std::int64_t at, std::int64_t low, std::int64_t high) {
      at = near(at);
      return std::clamp(at < 0 ? at + size : at, low, high);
    };
    const std::int64_t start = step > 0 ? place(starts[i], 0, size) : place(starts[i], 0, size - 1);
    const std::int64_t end = step > 0 ? place(ends[i], 0, size) : place(ends[i], -1, size - 1);
    range.start[axis] = start;
    range.step[axis] = step;
    range.count[axis] =
        std::max<std::int64_t>(0, step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step);
  }
  return {};
}

Fault padding_of(const Call& call, Padding& padding) {
  const Tensor& x = call.in(0);
  const Integers pads = call.parameter(1), axes = call.parameter(3);
  const std::int64_t count = axes.data ? axes.size : x.rank;
  for (int k = 0; k < x.rank; ++k) padding.before[k] = padding.behind[k] = 0;
  OPENBPU_CHECK(parameter(call, 1, 2 * count));
  for (std::int64_t i = 0; i < count; ++i) {
    const int axis = axis_of(axes.data ? axes[i] : i, x.rank);
    if (axis < 0) return fault("input 3", "must be axes of the data");
    padding.before[axis] = near(pads[i]);
    padding.behind[axis] = near(pads[count + i]);
  }
  return {};
}

namespace rules {

Fault Copy(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  return call.in(0).elements() == call.out().elements() ? Fault{} : wrong_shape();
}

Fault Cast(const Call& call) { return same_shape(call.in(0), call.out()) ? Fault{} : wrong_shape(); }

Fault Transpose(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Integers perm = call.list("perm");
  const Tensor &x = call.in(0), &y = call.out();
  if (perm.size != x.rank || y.rank != x.rank) return fault("attribute perm", "must name each dimension once");
  std::uint32_t seen = 0;
  for (int k = 0; k < x.rank; ++k) {
    if (perm[k] < 0 || perm[k] >= x.rank || (seen >> perm[k] & 1))
      return fault("attribute perm", "must name each dimension once");
    seen |= 1u << perm[k];
    if (y.extent[k] != x.extent[perm[k]]) return wrong_shape();
  }
  return {};
}

Fault Concat(const Call& call) {
  const Tensor& y = call.out();
  const int axis = axis_of(call.integer("axis"), y.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the output");
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    const Tensor& x = call.in(k);
    if (!x || x.type != y.type || !agree_but(x, y, axis))
      return fault("input " + std::to_string(k), "must have the type and, outside the axis, the shape of the output");
    sum += x.extent[axis];
  }
  return sum == y.extent[axis] ? Fault{} : wrong_shape();
}

Fault Split(const Call& call) {
  const Tensor& x = call.in(0);
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the input");
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < call.outputs.size(); ++k) {
    const Tensor& y = call.out(k);
    if (!y || x.type != y.type || !agree_but(x, y, axis))
      return fault("output " + std::to_string(k), "must have the type and, outside the axis, the shape of the input");
    sum += y.extent[axis];
  }
  return sum == x.extent[axis] ? Fault{} : fault("outputs", "must add up to the input", sum);
}

Fault Slice(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &y = call.out();
  const std::int64_t count = call.in(1).elements();
  for (std::size_t k = 1; k < 5; ++k)
    if (k < 3 || call.in(k)) OPENBPU_CHECK(parameter(call, k, count));
  if (!call.in(3) && count > x.rank) return fault("input 1", "has more values than the data has dimensions", count);
  SliceRange range;
  OPENBPU_CHECK(slice_of(call, range));
  if (y.rank != x.rank) return wrong_shape();
  for (int k = 0; k < x.rank; ++k)
    if (y.extent[k] != range.count[k]) return wrong_shape();
  return {};
}

Fault Pad(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &y = call.out();
  if (call.in(2) && (call.in(2).type != x.type || !is_scalar(call.in(2))))
    return fault("input 2", "must be one element of the data's type");
  if (call.in(3)) OPENBPU_CHECK(parameter(call, 3, call.in(3).elements()));
  Padding padding;
  OPENBPU_CHECK(padding_of(call, padding));
  if (y.rank != x.rank) return wrong_shape();
  for (int k = 0; k < x.rank; ++k)
    if (y.extent[k] != x.extent[k] + padding.before[k] + padding.behind[k]) return wrong_shape();
  return {};
}

Fault Expand(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &y = call.out();
  if (x.rank > y.rank) return wrong_shape();
  for (int k = 0; k < x.rank; ++k)
    if (x.extent[k] != 1 && x.extent[k] != y.extent[y.rank - x.rank + k]) return wrong_shape();
  return {};
}

Fault Tile(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &y = call.out();
  if (x.rank != y.rank) return wrong_shape();
  for (int k = 0; k < x.rank; ++k)
    if (y.extent[k] % x.extent[k] != 0) return wrong_shape();
  return {};
}

Fault Gather(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  OPENBPU_CHECK(index_type(call, 1));
  const Tensor &x = call.in(0), &indices = call.in(1);
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  return is_joined(call.out(), {{x, 0, axis}, {indices, 0, indices.rank}, {x, axis + 1, x.rank}}) ? Fault{}
                                                                                                  : wrong_shape();
}

Fault GatherElements(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  OPENBPU_CHECK(index_type(call, 1));
  const Tensor &x = call.in(0), &indices = call.in(1);
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  if (!same_shape(indices, call.out()) || indices.rank != x.rank) return wrong_shape();
  for (int k = 0; k < x.rank; ++k)
    if (k != axis && indices.extent[k] > x.extent[k]) return fault("input 1", "must not be larger than the data");
  return {};
}

Fault GatherND(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  OPENBPU_CHECK(index_type(call, 1));
  const Tensor &x = call.in(0), &indices = call.in(1);
  const std::int64_t batch = call.integer("batch_dims");
  if (indices.rank < 1 || batch < 0 || batch >= indices.rank || batch >= x.rank)
    return fault("attribute batch_dims", "must be less than both ranks", batch);
  const int b = static_cast<int>(batch);
  const std::int64_t tuple = indices.extent[indices.rank - 1];
  if (tuple > x.rank - b) return fault("input 1", "tuples must not be longer than the data's rank", tuple);
  for (int k = 0; k < b; ++k)
    if (indices.extent[k] != x.extent[k]) return fault("input 1", "must have the batch extents of the data");
  return is_joined(call.out(), {{indices, 0, indices.rank - 1}, {x, b + static_cast<int>(tuple), x.rank}})
             ? Fault{}
             : wrong_shape();
}

Fault ScatterElements(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  OPENBPU_CHECK(index_type(call, 1));
  const Tensor &x = call.in(0), &indices = call.in(1), &updates = call.in(2);
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  if (!same_shape(x, call.out())) return wrong_shape();
  if (updates.type != x.type || !same_shape(indices, updates)) return fault("input 2", "must match data and indices");
  if (indices.rank != x.rank) return fault("input 1", "must have the rank of the data");
  for (int k = 0; k < x.rank; ++k)
    if (k != axis && indices.extent[k] > x.extent[k]) return fault("input 1", "must not be larger than the data");
  return call.choice("reduction") == 0 || is(x, kNumbers) ? Fault{} : fault("input 0", "must be a number type");
}

Fault ScatterND(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  OPENBPU_CHECK(index_type(call, 1));
  const Tensor &x = call.in(0), &indices = call.in(1), &updates = call.in(2);
  if (!same_shape(x, call.out())) return wrong_shape();
  if (indices.rank < 1 || indices.extent[indices.rank - 1] > x.rank)
    return fault("input 1", "tuples must not be longer than the data's rank");
  const int tuple = static_cast<int>(indices.extent[indices.rank - 1]);
  if (updates.type != x.type || !is_joined(updates, {{indices, 0, indices.rank - 1}, {x, tuple, x.rank}}))
    return fault("input 2", "must match data and indices");
  return call.choice("reduction") == 0 || is(x, kNumbers) ? Fault{} : fault("input 0", "must be a number type");
}

Fault OneHot(const Call& call) {
  const Tensor &indices = call.in(0), &values = call.in(2), &y = call.out();
  if (!is(indices, kNumbers)) return fault("input 0", "must be a number type");
  if (values.type != y.type || !has_shape(values, 2))
    return fault("input 2", "must be two values of the output's type");
  const int axis = axis_of(call.integer("axis"), y.rank);
  if (axis < 0 || y.rank != indices.rank + 1) return wrong_shape();
  OPENBPU_CHECK(parameter(call, 1, 1));
  if (call.parameter(1)[0] != y.extent[axis]) return wrong_shape();
  for (int k = 0; k < indices.rank; ++k)
    if (indices.extent[k] != y.extent[k < axis ? k : k + 1]) return wrong_shape();
  return {};
}

Fault DepthToSpace(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &y = call.out();
  const std::int64_t b = call.integer("blocksize");
  if (b < 1 || b > 65535) return fault("attribute blocksize", "must be 1 to 65535", b);
  if (x.rank != 4 || x.extent[1] % (b * b) != 0)
    return fault("input 0", "must have four dimensions and blocks of channels");
  return has_shape(y, x.extent[0], x.extent[1] / (b * b), x.extent[2] * b, x.extent[3] * b) ? Fault{} : wrong_shape();
}

Fault SpaceToDepth(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &y = call.out();
  const std::int64_t b = call.integer("blocksize");
  if (b < 1 || b > 65535) return fault("attribute blocksize", "must be 1 to 65535", b);
  if (x.rank != 4 || x.extent[2] % b != 0 || x.extent[3] % b != 0)
    return fault("input 0", "must have four dimensions and whole blocks");
  return has_shape(y, x.extent[0], x.extent[1] * b * b, x.extent[2] / b, x.extent[3] / b) ? Fault{} : wrong_shape();
}

Fault Trilu(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  if (call.in(0).rank < 2) return fault("input 0", "must have two dimensions at least", call.in(0).rank);
  if (call.in(1)) OPENBPU_CHECK(parameter(call, 1, 1));
  return same_shape(call.in(0), call.out()) ? Fault{} : wrong_shape();
}

Fault ReverseSequence(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &lengths = call.in(1);
  const std::int64_t batch = call.integer("batch_axis"), time = call.integer("time_axis");
  if (x.rank < 2 || batch < 0 || batch > 1 || time != 1 - batch)
    return fault("attribute batch_axis", "batch_axis and time_axis must be 0 and 1 or 1 and 0", batch);
  if (lengths.type != Type::I64 || !has_shape(lengths, x.extent[batch]))
    return fault("input 1", "must be int64 [batch]");
  return same_shape(x, call.out()) ? Fault{} : wrong_shape();
}

Fault Compress(const Call& call) {
  OPENBPU_CHECK(same_types(call));
  const Tensor &x = call.in(0), &condition = call.in(1), &y = call.out();
  if (condition.type != Type::Bool || condition.rank != 1) return fault("input 1", "must be a bool vector");
  if (call.out(1) && (call.out(1).type != Type::I64 || call.out(1).rank != 0))
    return fault("output 1", "must be int64 without dimensions");
  if (call.integer("axis") == -2147483648LL) {
    if (condition.extent[0] > x.elements()) return fault("input 1", "must not be longer than the data");
    return y.rank == 1 ? Fault{} : wrong_shape();
  }
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  if (condition.extent[0] > x.extent[axis]) return fault("input 1", "must not be longer than the axis");
  return agree_but(x, y, axis) ? Fault{} : wrong_shape();
}

Fault NonZero(const Call& call) {
  const Tensor &x = call.in(0), &y = call.out();
  if (x.rank < 1) return fault("input 0", "must have a dimension");
  if (!is(x, kNumbers | bit(Type::Bool))) return fault("input 0", "must be a number type or bool");
  if (y.type != Type::I64 || y.rank != 2 || y.extent[0] != x.rank)
    return fault("output 0", "must be int64 [rank, most]");
  if (call.out(1) && (call.out(1).type != Type::I64 || call.out(1).rank != 0))
    return fault("output 1", "must be int64 without dimensions");
  return {};
}

Fault TopK(const Call& call) {
  const Tensor& x = call.in(0);
  if (!is(x, kNumbers)) return fault("input 0", "must be a number type");
  const int axis = axis_of(call.integer("axis"), x.rank);
  if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
  OPENBPU_CHECK(parameter(call, 1, 1));
  const std::int64_t k = call.parameter(1)[0];
  if (k < 1 || k > x.extent[axis]) return fault("input 1", "must be 1 to the extent of the axis", k);
  for (std::size_t o : {std::size_t{0}, std::size_t{1}}) {
    const Tensor& y = call.out(o);
    if (!y) continue;
    if (y.type != (o == 0 ? x.type : Type::I64))
      return fault("output " + std::to_string(o), "must be of the data's type, and int64");
    if (!agree_but(x, y, axis) || y.extent[axis] != k)
      return fault("output " + std::to_string(o), "must have k along the axis");
  }
  return {};
}

Fault NonMaxSuppression(const Call& call) {
  const Tensor &boxes = call.in(0), &scores = call.in(1), &y = call.out();
  if (boxes.type != Type::F32 || boxes.rank != 3 || boxes.extent[2] != 4)
    return fault("input 0", "must be float32 [images, boxes, 4]");
  if (scores.type != Type::F32 || scores.rank != 3 || scores.extent[0] != boxes.extent[0] ||
      scores.extent[2] != boxes.extent[1])
    return fault("input 1", "must be float32 [images, classes, boxes]");
  if (call.in(2)) OPENBPU_CHECK(parameter(call, 2, 1));
  for (std::size_t k : {std::size_t{3}, std::size_t{4}})
    if (call.in(k) && (call.in(k).type != Type::F32 || !is_scalar(call.in(k))))
      return fault("input " + std::to_string(k), "must be one float32");
  if (y.type != Type::I64 || y.rank != 2 || y.extent[1] != 3) return fault("output 0", "must be int64 [most, 3]");
  if (call.out(1) && (call.out(1).type != Type::I64 || call.out(1).rank != 0))
    return fault("output 1", "must be int64 without dimensions");
  return {};
}

Fault Unique(const Call& call) {
  const Tensor &x = call.in(0), &y = call.out();
  OPENBPU_CHECK(one_type(call, kNumbers | bit(Type::Bool), 0, 1));
  std::int64_t slices = x.elements();
  if (call.integer("axis") == -2147483648LL) {
    if (y.rank != 1) return wrong_shape();
  } else {
    const int axis = axis_of(call.integer("axis"), x.rank);
    if (axis < 0) return fault("attribute axis", "must be a dimension of the data");
    if (!agree_but(x, y, axis)) return wrong_shape();
    slices = x.extent[axis];
  }
  const std::int64_t room =
      call.integer("axis") == -2147483648LL ? y.extent[0] : y.elements() / (x.elements() / slices);
  for (std::size_t k = 1; k < 5; ++k) {
    const Tensor& out = call.out(k);
    if (!out) continue;
    const std::string where = "output " + std::to_string(k);
    if (out.type != Type::I64) return fault(where, "must be int64");
    if (k == 4 ? out.rank != 0 : !has_shape(out, k == 2 ? slices : room))
      return fault(where, "must have the shape that the operator gives");
  }
  return {};
}

}  // namespace rules
}  // namespace openbpu::operators
