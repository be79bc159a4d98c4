// Resize: one axis after another, each a sum of a few weighted source elements per output element.
//
// prepare() makes the tables of each axis from the attributes; run() is the same for all modes.
#include "operators/resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Integers;
using operators::kMaxRank;
using operators::ResizeAxes;

// An axis that changes: each of its outputs is a sum of `taps` inputs. Places and weights of the taps stand at `offset`
// of their tables: along rows (inner = 1) tap by tap, `padded` outputs each, else output by output.
struct Axis {
  int dimension;
  std::int64_t in, out, taps;
  std::int64_t inner, padded;  // inner: elements of a step along the axis, places are counted in elements
  std::int64_t offset;
  std::int64_t begin, end;  // outputs that are not extrapolated
  std::int64_t repeat;      // of nearest: output i is input i / repeat; or 0

  std::int64_t at(std::int64_t output, std::int64_t tap) const {
    return offset + (inner == 1 ? tap * padded + output : output * taps + tap);
  }
};

struct Table {
  int count;  // axes that change, in the order in which they are computed
  Axis axis[kMaxRank];
  std::int64_t entries;
  int leading;           // dimensions before the first that changes: their positions are planes, each on its own
  std::int64_t largest;  // elements of the largest intermediate result of a plane

  // Behind the table.
  std::int32_t* places(std::uint8_t* prepared) const {
    return reinterpret_cast<std::int32_t*>(prepared + sizeof(Table));
  }
  float* weights(std::uint8_t* prepared) const { return reinterpret_cast<float*>(places(prepared) + entries); }
};

// Few elements first: axes that shrink before those that grow, and of those that grow the inner ones.
bool comes_first(const Axis& a, const Axis& b) {
  const std::int64_t left = a.out * b.in, right = b.out * a.in;
  if (left != right) return left < right;
  return a.out >= a.in ? a.dimension > b.dimension : a.dimension < b.dimension;
}

std::int64_t taps_of(int mode, double scale, bool antialias) {
  const double reach = mode == 0 ? 0.5 : mode == 1 ? 1 : 2;
  if (mode == 0) return 1;
  const double stretch = antialias && scale < 1 ? 1 / scale : 1;
  return static_cast<std::int64_t>(2 * std::ceil(reach * stretch)) + (stretch > 1 ? 1 : 0);
}

Table table_of(const Call& call) {
  const Tensor &x = call.in(0), &y = call.out();
  ResizeAxes resize{};
  Table table{};
  if (operators::resize_axes_of(call, resize)) return table;
  const int mode = call.choice("mode");
  const bool antialias = call.integer("antialias") != 0;
  while (table.leading < x.rank && !resize.changes[table.leading]) ++table.leading;
  for (int k = 0; k < x.rank; ++k)
    if (resize.changes[k])
      table.axis[table.count++] = {
          k, x.extent[k], y.extent[k], taps_of(mode, resize.scale[k], antialias), 1, 0, 0, 0, 0, 0};
  std::sort(table.axis, table.axis + table.count, comes_first);
  Tensor shape = x;
  table.largest = x.product(table.leading, x.rank);
  for (int i = 0; i < table.count; ++i) {
    Axis& axis = table.axis[i];
    axis.inner = shape.product(axis.dimension + 1, shape.rank);
    axis.padded = axis.inner == 1 ? (axis.out + 15) / 16 * 16 : axis.out;
    axis.offset = table.entries;
    table.entries += axis.padded * axis.taps;
    shape.extent[axis.dimension] = axis.out;
    table.largest = std::max(table.largest, shape.product(table.leading, shape.rank));
  }
  return table;
}

// Place of an output element in the input.
double source_of(const Call& call, const ResizeAxes& resize, int k, std::int64_t at) {
  const auto in = static_cast<double>(call.in(0).extent[k]), out = static_cast<double>(call.out().extent[k]);
  const double scale = resize.scale[k], x = static_cast<double>(at);
  switch (call.choice("coordinate_transformation_mode")) {
    case 1: {  // half_pixel_symmetric
      const double adjustment = out / (scale * in), centre = in / 2;
      return centre * (1 - adjustment) + (x + 0.5) / scale - 0.5;
    }
    case 2:  // pytorch_half_pixel
      return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case 3:  // align_corners; the extent before it was rounded down
      return scale * in > 1 ? x * (in - 1) / (scale * in - 1) : 0;
    case 4:  // asymmetric
      return x / scale;
    case 5:  // tf_crop_and_resize
      return out > 1 ? resize.start[k] * (in - 1) + x * (resize.end[k] - resize.start[k]) * (in - 1) / (out - 1)
                     : 0.5 * (resize.start[k] + resize.end[k]) * (in - 1);
    default:
      return (x + 0.5) / scale - 0.5;
  }
}

std::int64_t nearest(double x, int mode) {
  switch (mode) {
    case 0:
      return static_cast<std::int64_t>(std::ceil(x - 0.5));
    case 1:
      return static_cast<std::int64_t>(std::floor(x + 0.5));
    case 2:
      return static_cast<std::int64_t>(std::floor(x));
    default:
      return static_cast<std::int64_t>(std::ceil(x));
  }
}

double linear_weight(double distance) { return std::max(0.0, 1 - std::fabs(distance)); }

double cubic_weight(double distance, double a) {
  const double d = std::fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

// Calls put(tap, place, weight) for the taps around a place; the weights add up to 1.
template <class Put>
void weigh(const Call& call, double source, double stretch, const Axis& axis, Put put) {
  const bool cubic = call.choice("mode") == 2, exclude = call.integer("exclude_outside") != 0;
  const double a = call.number("cubic_coeff_a"), reach = (cubic ? 2 : 1) * stretch;
  const auto first = static_cast<std::int64_t>(std::floor(source - reach)) + 1;
  const auto weight = [&](std::int64_t index) {
    if (exclude && (index < 0 || index >= axis.in)) return 0.0;
    const double distance = (static_cast<double>(index) - source) / stretch;
    return cubic ? cubic_weight(distance, a) : linear_weight(distance);
  };
  double total = 0;
  for (std::int64_t t = 0; t < axis.taps; ++t) total += weight(first + t);
  for (std::int64_t t = 0; t < axis.taps; ++t)
    put(t, std::clamp<std::int64_t>(first + t, 0, axis.in - 1), weight(first + t) / (total == 0 ? 1 : total));
}

Plan plan(const Call& call, const Vector&) {
  const Table table = table_of(call);
  const auto entries = static_cast<std::size_t>(table.entries);
  const std::size_t room = table.count > 1 ? 2 * static_cast<std::size_t>(table.largest) * sizeof(float) : 0;
  return plan_of_units(call.in(0).product(0, table.leading),
                       sizeof(Table) + entries * (sizeof(std::int32_t) + sizeof(float)), room);
}

void fill_axis(const Call& call, const ResizeAxes& resize, Axis& axis, std::int32_t* places, float* weights) {
  const int mode = call.choice("mode"), rounding = call.choice("nearest_mode");
  const bool crops = call.choice("coordinate_transformation_mode") == 5, antialias = call.integer("antialias") != 0;
  const double scale = resize.scale[axis.dimension], stretch = antialias && scale < 1 ? 1 / scale : 1;
  const bool inside = mode == 1 && stretch == 1 && call.integer("exclude_outside") == 0;
  const auto last = static_cast<double>(axis.in - 1);
  axis.begin = axis.out;
  axis.repeat = mode == 0 && axis.out % axis.in == 0 ? axis.out / axis.in : 0;
  for (std::int64_t o = 0; o < axis.out; ++o) {
    const auto put = [&](std::int64_t tap, std::int64_t place, double weight) {
      places[axis.at(o, tap)] = static_cast<std::int32_t>(place * axis.inner);
      weights[axis.at(o, tap)] = static_cast<float>(weight);
    };
    const double source = std::clamp(source_of(call, resize, axis.dimension, o), -1e9, 1e9);
    if (crops && (source < 0 || source > last)) {
      axis.repeat = 0;
      continue;
    }
    axis.begin = std::min(axis.begin, o);
    axis.end = o + 1;
    if (mode != 0) {
      weigh(call, inside ? std::clamp(source, 0.0, last) : source, stretch, axis, put);
      continue;
    }
    const std::int64_t place = std::clamp<std::int64_t>(nearest(source, rounding), 0, axis.in - 1);
    put(0, place, 1);
    if (axis.repeat > 0 && place != o / axis.repeat) axis.repeat = 0;
  }
}

void prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  Table& table = *new (prepared) Table(table_of(call));
  std::memset(table.places(prepared), 0, static_cast<std::size_t>(table.entries) * sizeof(std::int32_t));
  std::memset(table.weights(prepared), 0, static_cast<std::size_t>(table.entries) * sizeof(float));
  ResizeAxes resize{};
  if (operators::resize_axes_of(call, resize)) return;
  for (int i = 0; i < table.count; ++i)
    fill_axis(call, resize, table.axis[i], table.places(prepared), table.weights(prepared));
}

// A row along the axis itself.
void resize_row(const Vector& vector, const Axis& axis, const std::int32_t* places, const float* weights,
                const float* x, float* y) {
  if (axis.repeat > 0)
    vector.interleave(x, 0, axis.repeat, y, axis.out);
  else if (axis.taps == 1)
    for (std::int64_t o = axis.begin; o < axis.end; ++o) y[o] = x[places[axis.offset + o]];
  else
    vector.gather({x, places + axis.offset, weights + axis.offset, axis.taps, axis.padded, y, axis.out, false});
}

// n elements of an output across the axis, side by side.
void resize_columns(const Vector& vector, const Axis& axis, const std::int32_t* places, const float* weights,
                    const float* x, float* y) {
  const std::int64_t n = axis.inner, whole = n / 16 * 16;
  if (axis.taps == 1) {
    std::memcpy(y, x + *places, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  // Blocks of 16 must not reach beyond the input: the last one begins earlier.
  if (whole > 0) vector.taps({x, 0, places, weights, axis.taps, 0, y, 1, whole});
  if (whole == n) return;
  if (whole > 0) return vector.taps({x + n - 16, 0, places, weights, axis.taps, 0, y + n - 16, 1, 16});
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = 0;
    for (std::int64_t t = 0; t < axis.taps; ++t) y[i] = __builtin_fmaf(weights[t], x[places[t] + i], y[i]);
  }
}

// One axis of [outer, axis, inner].
void resize_axis(const Task& task, const Table& table, const Axis& axis, const float* x, float* y, std::int64_t outer) {
  auto* prepared = const_cast<std::uint8_t*>(task.prepared);
  const std::int32_t* places = table.places(prepared);
  const float* weights = table.weights(prepared);
  const auto beyond = static_cast<float>(task.call.number("extrapolation_value"));
  for (std::int64_t r = 0; r < outer; ++r, x += axis.in * axis.inner, y += axis.out * axis.inner) {
    if (axis.inner == 1)
      resize_row(task.vector, axis, places, weights, x, y);
    else
      for (std::int64_t o = axis.begin; o < axis.end; ++o)
        resize_columns(task.vector, axis, places + axis.at(o, 0), weights + axis.at(o, 0), x, y + o * axis.inner);
    std::fill(y, y + std::min(axis.begin, axis.out) * axis.inner, beyond);
    std::fill(y + std::max(axis.begin, axis.end) * axis.inner, y + axis.out * axis.inner, beyond);
  }
}

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& table = *reinterpret_cast<const Table*>(task.prepared);
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t in = x.product(table.leading, x.rank), out = y.product(table.leading, y.rank);
  auto* room = reinterpret_cast<float*>(task.scratch);
  for (std::int64_t plane = begin; plane < end; ++plane) {
    const float* from = x.as<const float>() + plane * in;
    float* last = y.as<float>() + plane * out;
    if (table.count == 0) std::memcpy(last, from, static_cast<std::size_t>(out) * sizeof(float));
    Tensor shape = x;
    for (int i = 0; i < table.count; ++i) {
      const Axis& axis = table.axis[i];
      float* to = i + 1 == table.count ? last : room + (i % 2) * table.largest;
      resize_axis(task, table, axis, from, to, shape.product(table.leading, axis.dimension));
      shape.extent[axis.dimension] = axis.out;
      from = to;
    }
  }
  return nullptr;
}

constexpr Kernel kTable[] = {{"Resize", plan, prepare, run}};

}  // namespace

const Span<const Kernel> kResizeKernels(kTable);

}  // namespace openbpu::kernels::cpu
