// Resize: one axis after another, each a sum of a few weighted source elements per output element.
//
// prepare() makes the table of each axis from the attributes; run() is the same for all modes.
#include "operators/resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Integers;
using operators::kMaxRank;
using operators::ResizeAxes;

// Taps of the axes, one table behind the other: for each output index `taps` source indices and weights; an index of -1
// stands for extrapolation.
struct Axis {
  std::int64_t in, out, taps;
  std::int64_t offset;  // of the table in entries
};

struct Tap {
  std::int64_t index;
  float weight;
};

struct Table {
  int count;  // axes that change
  int axes[kMaxRank];
  Axis axis[kMaxRank];
  std::int64_t entries;
  int leading;           // dimensions before the first that changes: their positions are planes, each on its own
  std::int64_t largest;  // elements of the largest intermediate result of a plane
};

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
  std::int64_t elements = x.product(table.leading, x.rank);
  table.largest = elements;
  for (int k = 0; k < x.rank; ++k) {
    if (!resize.changes[k]) continue;
    Axis& axis = table.axis[table.count];
    axis = {x.extent[k], y.extent[k], taps_of(mode, resize.scale[k], antialias), table.entries};
    table.entries += axis.out * axis.taps;
    table.axes[table.count++] = k;
    elements = elements / x.extent[k] * y.extent[k];
    table.largest = std::max(table.largest, elements);
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

// Weights around a place, added up to 1.
void weigh(const Call& call, double source, double stretch, std::int64_t in, std::int64_t taps, Tap* entry) {
  const bool cubic = call.choice("mode") == 2, exclude = call.integer("exclude_outside") != 0;
  const double a = call.number("cubic_coeff_a"), reach = (cubic ? 2 : 1) * stretch;
  const auto first = static_cast<std::int64_t>(std::floor(source - reach)) + 1;
  double total = 0;
  for (std::int64_t t = 0; t < taps; ++t) {
    const std::int64_t index = first + t;
    const double distance = (static_cast<double>(index) - source) / stretch;
    double w = cubic ? cubic_weight(distance, a) : linear_weight(distance);
    if (exclude && (index < 0 || index >= in)) w = 0;
    entry[t] = {std::clamp<std::int64_t>(index, 0, in - 1), static_cast<float>(w)};
    total += w;
  }
  for (std::int64_t t = 0; t < taps && total != 0; ++t)
    entry[t].weight = static_cast<float>(static_cast<double>(entry[t].weight) / total);
}

Plan plan(const Call& call, const Vector&) {
  const Table table = table_of(call);
  const std::size_t prepared = sizeof(Table) + static_cast<std::size_t>(table.entries) * sizeof(Tap);
  const std::size_t room = table.count > 1 ? 2 * static_cast<std::size_t>(table.largest) * sizeof(float) : 0;
  return plan_of_units(call.in(0).product(0, table.leading), prepared, room);
}

void prepare(const Call& call, const Vector&, std::uint8_t* prepared) {
  const Table table = table_of(call);
  std::memcpy(prepared, &table, sizeof table);
  auto* entries = reinterpret_cast<Tap*>(prepared + sizeof(Table));
  ResizeAxes resize{};
  if (operators::resize_axes_of(call, resize)) return;
  const int mode = call.choice("mode"), rounding = call.choice("nearest_mode");
  const bool crops = call.choice("coordinate_transformation_mode") == 5, antialias = call.integer("antialias") != 0;
  for (int i = 0; i < table.count; ++i) {
    const Axis& axis = table.axis[i];
    const double scale = resize.scale[table.axes[i]], stretch = antialias && scale < 1 ? 1 / scale : 1;
    for (std::int64_t o = 0; o < axis.out; ++o) {
      Tap* entry = entries + axis.offset + o * axis.taps;
      const double last = static_cast<double>(axis.in - 1);
      const double source = std::clamp(source_of(call, resize, table.axes[i], o), -1e9, 1e9);
      if (crops && (source < 0 || source > last)) {
        for (std::int64_t t = 0; t < axis.taps; ++t) entry[t] = {-1, 0};
      } else if (mode == 0) {
        entry[0] = {std::clamp<std::int64_t>(nearest(source, rounding), 0, axis.in - 1), 1};
      } else {
        const bool inside = mode == 1 && stretch == 1 && call.integer("exclude_outside") == 0;
        weigh(call, inside ? std::clamp(source, 0.0, last) : source, stretch, axis.in, axis.taps, entry);
      }
    }
  }
}

// One axis of [outer, axis, inner].
void resize_axis(const Axis& axis, const Tap* entries, const float* x, float* y, std::int64_t outer, std::int64_t inner,
                 float beyond) {
  for (std::int64_t r = 0; r < outer; ++r, x += axis.in * inner)
    for (std::int64_t o = 0; o < axis.out; ++o, y += inner) {
      const Tap* entry = entries + axis.offset + o * axis.taps;
      if (entry->index < 0) {
        for (std::int64_t i = 0; i < inner; ++i) y[i] = beyond;
        continue;
      }
      if (axis.taps == 1) {
        std::memcpy(y, x + entry->index * inner, static_cast<std::size_t>(inner) * sizeof(float));
        continue;
      }
      for (std::int64_t t = 0; t < axis.taps; ++t) {
        const float* from = x + entry[t].index * inner;
        const float w = entry[t].weight;
        if (t == 0)
          for (std::int64_t i = 0; i < inner; ++i) y[i] = from[i] * w;
        else if (w != 0)
          for (std::int64_t i = 0; i < inner; ++i) y[i] += from[i] * w;
      }
    }
}

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const auto& table = *reinterpret_cast<const Table*>(task.prepared);
  const auto* entries = reinterpret_cast<const Tap*>(task.prepared + sizeof(Table));
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const auto beyond = static_cast<float>(task.call.number("extrapolation_value"));
  const std::int64_t in = x.product(table.leading, x.rank), out = y.product(table.leading, y.rank);
  auto* room = reinterpret_cast<float*>(task.scratch);
  for (std::int64_t plane = begin; plane < end; ++plane) {
    const float* from = x.as<const float>() + plane * in;
    float* last = y.as<float>() + plane * out;
    if (table.count == 0) std::memcpy(last, from, static_cast<std::size_t>(out) * sizeof(float));
    Tensor shape = x;
    for (int i = 0; i < table.count; ++i) {
      const int k = table.axes[i];
      float* to = i + 1 == table.count ? last : room + (i % 2) * table.largest;
      resize_axis(table.axis[i], entries, from, to, shape.product(table.leading, k), shape.product(k + 1, shape.rank),
                  beyond);
      shape.extent[k] = y.extent[k];
      from = to;
    }
  }
  return nullptr;
}

constexpr Kernel kTable[] = {{"Resize", plan, prepare, run}};

}  // namespace

const Span<const Kernel> kResizeKernels(kTable);

}  // namespace openbpu::kernels::cpu
