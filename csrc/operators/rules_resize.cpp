#include <algorithm>
#include <cmath>

#include "operators/resize.hpp"
#include "operators/shapes.hpp"

namespace openbpu::operators {

namespace {

constexpr double kLeast = 1.0 / 4096, kMost = 4096;  // scales: tables and windows stay small

// Position of a dimension in lists that go over `axes`; -1 if it is not among them.
int position_of(const Integers& axes, int rank, int dimension) {
  if (axes.size == 0) return dimension;
  for (std::int64_t i = 0; i < axes.size; ++i)
    if (axis_of(axes[i], rank) == dimension) return static_cast<int>(i);
  return -1;
}

}  // namespace

Fault resize_axes_of(const Call& call, ResizeAxes& resize) {
  const Tensor &x = call.in(0), &y = call.out(), &roi = call.in(1), &scales = call.in(2), &sizes = call.in(3);
  const Integers axes = call.list("axes");
  const std::int64_t count = axes.size ? axes.size : x.rank;
  const bool crops = call.choice("coordinate_transformation_mode") == 5;
  const bool keeps = call.choice("keep_aspect_ratio_policy") != 0 && sizes;
  double kept = 0;
  for (int k = 0; k < x.rank; ++k) {
    const int at = position_of(axes, x.rank, k);
    resize.scale[k] = static_cast<double>(y.extent[k]) / static_cast<double>(x.extent[k]);
    resize.start[k] = 0;
    resize.end[k] = 1;
    if (at >= 0 && scales) resize.scale[k] = static_cast<double>(scales.as<const float>()[at]);
    if (at >= 0 && crops && roi) {
      resize.start[k] = static_cast<double>(roi.as<const float>()[at]);
      resize.end[k] = static_cast<double>(roi.as<const float>()[count + at]);
      if (!(std::fabs(resize.start[k]) < 1e6 && std::fabs(resize.end[k]) < 1e6))
        return fault("input 1", "regions must lie within 10^6 of the input");
    }
    if (at >= 0 && keeps) {
      const double own = static_cast<double>(call.parameter(3)[at]) / static_cast<double>(x.extent[k]);
      const bool first = kept == 0;
      kept = first ? own : call.choice("keep_aspect_ratio_policy") == 1 ? std::fmin(kept, own) : std::fmax(kept, own);
    }
    if (!(resize.scale[k] >= kLeast && resize.scale[k] <= kMost))
      return fault("input 2", "scales must be 1/4096 to 4096");
    resize.changes[k] = at >= 0 && (x.extent[k] != y.extent[k] || resize.scale[k] != 1 || crops);
    if (at < 0 && x.extent[k] != y.extent[k]) return fault("output 0", "must have the extents of the other axes");
  }
  if (keeps && kept > 0)
    for (int k = 0; k < x.rank; ++k)
      if (position_of(axes, x.rank, k) >= 0) resize.scale[k] = kept;
  return {};
}

namespace rules {

Fault Resize(const Call& call) {
  if (call.in(0).type != Type::F32) return fault("input 0", "must be float32");
  if (call.out().type != Type::F32) return fault("output 0", "must be float32");
  const Tensor &x = call.in(0), &roi = call.in(1), &scales = call.in(2), &sizes = call.in(3);
  if (call.out().rank != x.rank) return fault("output 0", "must have the rank of the input");
  const Integers axes = call.list("axes");
  const std::int64_t count = axes.size ? axes.size : x.rank;
  if (count > x.rank) return fault("attribute axes", "has more values than the input has dimensions", count);
  for (std::int64_t axis : axes)
    if (axis_of(axis, x.rank) < 0) return fault("attribute axes", "must be dimensions of the input", axis);
  if (roi && (roi.type != Type::F32 || roi.elements() != 2 * count))
    return fault("input 1", "must be two float32 values per axis");
  if (scales && (scales.type != Type::F32 || scales.elements() != count))
    return fault("input 2", "must be one float32 value per axis");
  if (sizes && (sizes.type != Type::I64 || sizes.elements() != count))
    return fault("input 3", "must be one int64 value per axis");
  for (int k = 0; k < x.rank; ++k)
    if (call.out().extent[k] > 4096 * x.extent[k]) return fault("output 0", "must be at most 4096 times the input");
  // Axes one after another: no result on the way is larger than this.
  std::int64_t largest = 1;
  for (int k = 0; k < x.rank; ++k) {
    largest *= std::max(x.extent[k], call.out().extent[k]);
    if (largest > (std::int64_t{1} << 31)) return fault("output 0", "input and output extents are too large together");
  }
  if (sizes)
    for (std::int64_t i = 0; i < count; ++i)
      if (call.parameter(3)[i] < 1 || call.parameter(3)[i] > (std::int64_t{1} << 31))
        return fault("input 3", "must be positive", call.parameter(3)[i]);
  ResizeAxes resize{};
  return resize_axes_of(call, resize);
}

}  // namespace rules
}  // namespace openbpu::operators
