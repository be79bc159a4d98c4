// Pooling over windows and over whole images.
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/planes.hpp"
#include "kernels/cpu/wide.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Window;

struct Shape {
  Window w;
  std::int64_t planes;  // images times channels
};

Shape shape_of(const Call& call) {
  Shape s{};
  if (operators::pool_window_of(call, s.w)) return {};
  s.planes = call.in(0).extent[0] * call.in(0).extent[1];
  return s;
}

// Maxima and means of float32 without positions go row by row.
bool goes_by_rows(const Call& call, const Shape& s) {
  const bool norm = std::string_view(call.kernel->name) == "LpPool";
  return !norm && call.in(0).type == Type::F32 && !call.out(1) && has_planes(s.w);
}

// By rows, what is the same for all planes of a unit takes as long as some of them.
std::int64_t planes_per_unit(const Call& call, const Shape& s) {
  const bool rows = goes_by_rows(call, s);
  return std::max<std::int64_t>(1, (rows ? 4 * kUnitElements : kUnitElements) /
                                       std::max<std::int64_t>(1, s.w.out_pixels() * (rows ? 1 : s.w.taps())));
}

// Scratch of a row: columns with padding around them, the taps that count along the row, counts and their reciprocals.
std::int64_t columns_size(const Window& w) {
  const std::int64_t reach = (w.out[2] - 1) * w.stride[2] + (w.kernel[2] - 1) * w.dilation[2] + 1;
  return std::max(w.before[2] + w.in[2], reach) + 16 * std::max<std::int64_t>(2, w.stride[2]);
}
constexpr std::int64_t kOutputs = 8;  // rows that are pooled together
std::size_t row_scratch(const Shape& s) {
  return static_cast<std::size_t>(kOutputs * columns_size(s.w) + 3 * s.w.out[2]) * sizeof(float);
}

Plan plan(const Call& call, const Vector&) {
  const Shape s = shape_of(call);
  const std::int64_t per_unit = planes_per_unit(call, s);
  return plan_of_units((s.planes + per_unit - 1) / per_unit, 0, goes_by_rows(call, s) ? row_scratch(s) : 0);
}

// Taps [first, last) of an axis that lie inside the input, and where the first stands.
struct Taps {
  std::int64_t first, last, at;
};
Taps taps_of(const Window& w, int axis, std::int64_t out) {
  const std::int64_t start = out * w.stride[axis] - w.before[axis], step = w.dilation[axis];
  const std::int64_t first = start < 0 ? (-start + step - 1) / step : 0;
  const std::int64_t room = w.in[axis] - start;
  const std::int64_t last = std::min(w.kernel[axis], room <= 0 ? 0 : (room + step - 1) / step);
  return {first, std::max(first, last), start + first * step};
}

// Calls f(offset in the plane) for the taps of an output that lie inside the input; their number.
template <class F>
std::int64_t each_tap(const Window& w, const Taps& z, const Taps& y, const Taps& x, F f) {
  for (std::int64_t kz = z.first, oz = z.at; kz < z.last; ++kz, oz += w.dilation[0])
    for (std::int64_t ky = y.first, oy = y.at; ky < y.last; ++ky, oy += w.dilation[1]) {
      const std::int64_t row = (oz * w.in[1] + oy) * w.in[2];
      for (std::int64_t kx = x.first, ox = x.at; kx < x.last; ++kx, ox += w.dilation[2]) f(row + ox);
    }
  return (z.last - z.first) * (y.last - y.first) * (x.last - x.first);
}

// Calls f(plane, output offset, taps of z, y, x) for the outputs of units [begin, end).
template <class F>
void each_output(const Task& task, std::int32_t begin, std::int32_t end, F f) {
  const Shape s = shape_of(task.call);
  const std::int64_t per_unit = planes_per_unit(task.call, s);
  for (std::int64_t plane = begin * per_unit; plane < std::min(s.planes, end * per_unit); ++plane) {
    std::int64_t at = plane * s.w.out_pixels();
    for (std::int64_t oz = 0; oz < s.w.out[0]; ++oz) {
      const Taps z = taps_of(s.w, 0, oz);
      for (std::int64_t oy = 0; oy < s.w.out[1]; ++oy) {
        const Taps y = taps_of(s.w, 1, oy);
        for (std::int64_t ox = 0; ox < s.w.out[2]; ++ox, ++at) f(s.w, plane, at, z, y, taps_of(s.w, 2, ox));
      }
    }
  }
}

// Index of an element as ONNX counts it: row-major, or with columns outermost (storage_order 1).
std::int64_t max_index(const Window& w, std::int64_t plane, std::int64_t offset, bool columns_first) {
  if (!columns_first) return plane * w.in_pixels() + offset;
  const std::int64_t x = offset % w.in[2], y = offset / w.in[2] % w.in[1], z = offset / (w.in[2] * w.in[1]);
  return plane * w.in_pixels() + (x * w.in[1] + y) * w.in[0] + z;
}

// Taps that lie inside the input or its padding.
std::int64_t padded_taps(const Window& w, int axis, std::int64_t out) {
  const std::int64_t room = w.in[axis] + w.behind[axis] - (out * w.stride[axis] - w.before[axis]);
  return std::min(w.kernel[axis], room <= 0 ? 0 : (room + w.dilation[axis] - 1) / w.dilation[axis]);
}

std::int64_t taps_counted(const Window& w, int axis, std::int64_t out, bool with_padding) {
  const Taps taps = taps_of(w, axis, out);
  return with_padding ? padded_taps(w, axis, out) : taps.last - taps.first;
}

// What a row of sums is divided by, and the reciprocals of that.
void fill_counts(const float* across, float high, std::int64_t n, float* counts) {
  for (std::int64_t x = 0; x < n; ++x) {
    counts[x] = std::max(1.0f, high * across[x]);
    counts[n + x] = 1 / counts[x];
  }
}

// How many outputs from `out` on have a window of as many taps, inside and counted, as it has.
std::int64_t alike(const Window& w, std::int64_t out, bool count_padding) {
  const Taps own = taps_of(w, 1, out);
  std::int64_t n = 1;
  for (; n < kOutputs && out + n < w.out[1]; ++n) {
    const Taps other = taps_of(w, 1, out + n);
    if (other.first != own.first || other.last != own.last) break;
    if (count_padding && padded_taps(w, 1, out + n) != padded_taps(w, 1, out)) break;
  }
  return n;
}

// Planes [first, last): rows under the window combined first, then columns.
void pool_rows(const Task& task, const Shape& s, std::int64_t first, std::int64_t last, bool largest,
               bool count_padding) {
  const Window& w = s.w;
  const std::int64_t n = w.out[2], size = columns_size(w);
  auto *columns = reinterpret_cast<float*>(task.scratch), *across = columns + kOutputs * size, *counts = across + n;
  std::fill(columns, across, largest ? -std::numeric_limits<float>::infinity() : 0.0f);
  for (std::int64_t x = 0; x < n; ++x) across[x] = static_cast<float>(taps_counted(w, 2, x, count_padding));
  for (std::int64_t oy = 0, outputs; oy < w.out[1]; oy += outputs) {
    outputs = alike(w, oy, count_padding);
    const Taps rows = taps_of(w, 1, oy);
    if (!largest) fill_counts(across, static_cast<float>(taps_counted(w, 1, oy, count_padding)), n, counts);
    PoolRows pool{nullptr,
                  w.dilation[1] * w.in[2],
                  rows.last - rows.first,
                  w.in[2],
                  outputs,
                  w.stride[1] * w.in[2],
                  columns + w.before[2],
                  size,
                  w.before[2],
                  w.stride[2],
                  w.dilation[2],
                  w.kernel[2],
                  largest ? nullptr : counts,
                  nullptr,
                  n,
                  largest};
    if (pool.rows == 0) {  // the windows lie in the padding
      for (std::int64_t o = 0; o < outputs; ++o) std::fill_n(pool.columns + o * size, pool.width, columns[size - 1]);
      pool.width = 0;
    }
    for (std::int64_t plane = first; plane < last; ++plane) {
      pool.x = task.call.in(0).as<const float>() + plane * w.in_pixels() + rows.at * w.in[2];
      pool.y = task.call.out().as<float>() + plane * w.out_pixels() + oy * n;
      task.vector.pool_rows(pool);
    }
  }
}

// Units [begin, end) by rows, if the call is such.
bool by_rows(const Task& task, std::int32_t begin, std::int32_t end, bool largest, bool count_padding) {
  const Shape s = shape_of(task.call);
  if (!goes_by_rows(task.call, s)) return false;
  const std::int64_t per_unit = planes_per_unit(task.call, s);
  pool_rows(task, s, begin * per_unit, std::min(s.planes, end * per_unit), largest, count_padding);
  return true;
}

// What a window without elements gives.
void store_lowest(const Tensor& y, std::int64_t at) {
  visit_wide(y.type, [&](auto tag) {
    using W = typename decltype(tag)::type;
    W value{};
    if constexpr (std::is_same_v<W, double>)
      value = -std::numeric_limits<double>::infinity();
    else
      value = range_of<W>(y.type).low;
    store_wide(y, at, 1, &value);
  });
}

const char* max_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out(0), &indices = task.call.out(1);
  const bool columns_first = task.call.integer("storage_order") != 0;
  if (by_rows(task, begin, end, true, false)) return nullptr;
  const std::int64_t size = operators::size_of(x.type);
  const bool single = x.type == Type::F32;
  const auto key_of = [&](std::int64_t at) -> std::uint64_t {
    std::uint64_t key;
    load_keys(x, at, 0, 1, &key);
    return key;
  };
  each_output(
      task, begin, end,
      [&](const Window& w, std::int64_t plane, std::int64_t at, const Taps& tz, const Taps& ty, const Taps& tx) {
        const std::int64_t first = plane * w.in_pixels();
        const float* in = single ? x.as<const float>() + first : nullptr;
        std::int64_t best = -1;
        std::uint64_t most = 0;
        each_tap(w, tz, ty, tx, [&](std::int64_t offset) {
          if (single) {
            if (best < 0 || in[offset] > in[best]) best = offset;
          } else {
            const std::uint64_t key = key_of(first + offset);
            if (best < 0 || key > most) most = key, best = offset;
          }
        });
        if (y && best >= 0)
          std::memcpy(y.data + at * size, x.data + (first + best) * size, static_cast<std::size_t>(size));
        else if (y)
          store_lowest(y, at);
        if (indices) indices.as<std::int64_t>()[at] = best < 0 ? -1 : max_index(w, plane, best, columns_first);
      });
  return nullptr;
}

const char* average_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const float* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>();
  const bool count_pad = task.call.integer("count_include_pad") != 0;
  if (by_rows(task, begin, end, false, count_pad)) return nullptr;
  each_output(
      task, begin, end,
      [&](const Window& w, std::int64_t plane, std::int64_t at, const Taps& tz, const Taps& ty, const Taps& tx) {
        float sum = 0;
        const float* in = x + plane * w.in_pixels();
        std::int64_t count = each_tap(w, tz, ty, tx, [&](std::int64_t offset) { sum += in[offset]; });
        if (count_pad) {
          const std::int64_t pixel = at % w.out_pixels();
          count = padded_taps(w, 2, pixel % w.out[2]) * padded_taps(w, 1, pixel / w.out[2] % w.out[1]) *
                  padded_taps(w, 0, pixel / (w.out[2] * w.out[1]));
        }
        y[at] = count == 0 ? 0 : sum / static_cast<float>(count);
      });
  return nullptr;
}

double powered(double x, std::int64_t p) {
  x = std::fabs(x);
  return p == 1 ? x : p == 2 ? x * x : std::pow(x, static_cast<double>(p));
}
double rooted(double sum, std::int64_t p) {
  return p == 1 ? sum : p == 2 ? std::sqrt(sum) : std::pow(sum, 1 / static_cast<double>(p));
}

const char* lp_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const float* x = task.call.in(0).as<const float>();
  float* y = task.call.out().as<float>();
  const std::int64_t p = task.call.integer("p");
  each_output(
      task, begin, end,
      [&](const Window& w, std::int64_t plane, std::int64_t at, const Taps& tz, const Taps& ty, const Taps& tx) {
        double sum = 0;
        const float* in = x + plane * w.in_pixels();
        each_tap(w, tz, ty, tx, [&](std::int64_t offset) { sum += powered(static_cast<double>(in[offset]), p); });
        y[at] = static_cast<float>(rooted(sum, p));
      });
  return nullptr;
}

// ---- whole images

Plan global_plan(const Call& call, const Vector&) {
  const Tensor &x = call.in(0), &y = call.out();
  return plan_of_units(std::min(y.elements(), (x.elements() + kUnitElements - 1) / kUnitElements));
}

enum class Global { Max, Mean, Norm };

template <Global kind>
const char* global_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const std::int64_t pixels = x.product(2, x.rank), units = global_plan(task.call, task.vector).units;
  const std::int64_t p = kind == Global::Norm ? task.call.integer("p") : 0;
  for (std::int64_t k = y.elements() * begin / units; k < y.elements() * end / units; ++k) {
    const float* in = x.as<const float>() + k * pixels;
    float& out = y.as<float>()[k];
    if (kind == Global::Max) out = task.vector.maximum(in, pixels);
    if (kind == Global::Mean) out = task.vector.sum(in, pixels) / static_cast<float>(pixels);
    if (kind != Global::Norm) continue;
    double sum = 0;
    for (std::int64_t i = 0; i < pixels; ++i) sum += powered(static_cast<double>(in[i]), p);
    out = static_cast<float>(rooted(sum, p));
  }
  return nullptr;
}

// ---- MaxUnpool

Plan one_unit(const Call&, const Vector&) { return plan_of_units(1); }

const char* unpool_run(const Task& task, std::int32_t, std::int32_t) {
  const Tensor &x = task.call.in(0), &indices = task.call.in(1), &y = task.call.out();
  float* out = y.as<float>();
  for (std::int64_t i = 0; i < y.elements(); ++i) out[i] = 0;
  // Indices count in the shape that kernel, strides and pads give, which an explicit output shape may exceed.
  const int d = x.rank - 2;
  const operators::Integers kernel = task.call.list("kernel_shape"), strides = task.call.list("strides");
  const operators::Integers pads = task.call.list("pads");
  std::int64_t own[operators::kMaxRank], size = x.extent[0] * x.extent[1];
  for (int k = 0; k < d; ++k) {
    const std::int64_t taken = pads.size == 2 * d ? pads[k] + pads[d + k] : 0;
    own[k] = (x.extent[2 + k] - 1) * (strides.size == d ? strides[k] : 1) + (kernel.size == d ? kernel[k] : 1) - taken;
    if (own[k] < 1 || own[k] > y.extent[2 + k]) own[k] = y.extent[2 + k];
    size *= own[k];
  }
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    const std::int64_t index = indices.as<const std::int64_t>()[i];
    if (index < 0 || index >= size) return "an index lies outside the output";
    std::int64_t rest = index, offset = 0, step = 1;
    for (int k = d - 1; k >= 0; --k) {
      offset += rest % own[k] * step;
      rest /= own[k];
      step *= y.extent[2 + k];
    }
    out[rest * step + offset] = x.as<const float>()[i];
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"MaxPool", plan, nullptr, max_run},
    {"AveragePool", plan, nullptr, average_run},
    {"LpPool", plan, nullptr, lp_run},
    {"GlobalMaxPool", global_plan, nullptr, global_run<Global::Max>},
    {"GlobalAveragePool", global_plan, nullptr, global_run<Global::Mean>},
    {"GlobalLpPool", global_plan, nullptr, global_run<Global::Norm>},
    {"MaxUnpool", one_unit, nullptr, unpool_run},
};

}  // namespace

const Span<const Kernel> kPoolKernels(kTable);

}  // namespace openbpu::kernels::cpu
