// ConvTranspose and Col2Im: products or columns that are added into the output.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Window;

// Adds the values of a tap, one per position, to the places of the image where the tap lands.
void add_tap(const Window& w, const std::int64_t (&positions)[3], std::int64_t tap, const float* from, float* image) {
  const std::int64_t kx = tap % w.kernel[2], ky = tap / w.kernel[2] % w.kernel[1];
  const std::int64_t kz = tap / (w.kernel[2] * w.kernel[1]);
  for (std::int64_t pz = 0; pz < positions[0]; ++pz)
    for (std::int64_t py = 0; py < positions[1]; ++py, from += positions[2]) {
      const std::int64_t z = pz * w.stride[0] - w.before[0] + kz * w.dilation[0];
      const std::int64_t y = py * w.stride[1] - w.before[1] + ky * w.dilation[1];
      if (z < 0 || z >= w.out[0] || y < 0 || y >= w.out[1]) continue;
      float* row = image + (z * w.out[1] + y) * w.out[2];
      const std::int64_t x = kx * w.dilation[2] - w.before[2], stride = w.stride[2];
      const std::int64_t first = x < 0 ? (-x + stride - 1) / stride : 0;
      const std::int64_t last = w.out[2] <= x ? 0 : std::min(positions[2], (w.out[2] - x + stride - 1) / stride);
      for (std::int64_t px = first; px < last; ++px) row[x + px * stride] += from[px];
    }
}

// ---- ConvTranspose: a unit is some output channels of a group; their products with all pixels, one row per channel
// and tap, are added up row by row of the output

struct Shape {
  Window w;
  std::int64_t images, groups, ci, co;
};

Shape shape_of(const Call& call) {
  const Tensor &x = call.in(0), &weights = call.in(1);
  Shape s{};
  if (operators::window_of(call, x, call.out(), weights.extent + 2, s.w)) return {};
  s.images = x.extent[0];
  s.groups = call.integer("group");
  s.ci = x.extent[1] / s.groups;
  s.co = weights.extent[1];
  return s;
}

// Rows of a product (channels times taps, or some of the taps of one channel) that are computed at once, so that
// scratch stays small whatever the kernel.
constexpr std::int64_t kRows = kBlockRows;

std::int64_t channels_of_unit(const Shape& s) { return std::max<std::int64_t>(1, kRows / s.w.taps()); }
std::int64_t channel_blocks(const Shape& s) { return (s.co + channels_of_unit(s) - 1) / channels_of_unit(s); }
std::int64_t rows_of_unit(const Shape& s) { return std::min(kRows, channels_of_unit(s) * s.w.taps()); }

// An output row apart by the remainder of its columns modulo the stride: what a tap adds lies end to end in one phase.
struct Phases {
  std::int64_t count, lead, size;  // lead: room for what falls off at the left
};

// Quotient and remainder that go down, as columns left of the image do.
std::int64_t quotient_of(std::int64_t x, std::int64_t step) { return x >= 0 ? x / step : -((-x + step - 1) / step); }

Phases phases_of(const Window& w) {
  const std::int64_t step = w.stride[2];
  const std::int64_t lead = -quotient_of(-w.before[2], step);
  const std::int64_t furthest = quotient_of((w.kernel[2] - 1) * w.dilation[2] - w.before[2], step);
  const std::int64_t reach = std::max(w.in[2] + std::max<std::int64_t>(0, furthest), (w.out[2] + step - 1) / step);
  return {step, lead, lead + reach};
}

// Whether taps of a channel are computed at once, and phases of a row are of a sensible size.
bool goes_by_rows(const Shape& s) {
  constexpr std::int64_t most = 1 << 20;
  const Window& w = s.w;
  if (w.taps() > kRows || w.stride[2] > 256 || w.before[2] > most || w.out[2] > most || w.dilation[2] > most)
    return false;
  const Phases p = phases_of(w);
  return p.size <= most / p.count;
}

bool is_packed(const Call& call) { return call.in(1).constant; }
std::int64_t packed_unit(const Shape& s, const Vector& vector) { return packed_rows(vector, rows_of_unit(s), s.ci); }

// Weights of the channels of a unit: element (channel and tap, input channel).
Matrix weights_of(const Call& call, const Shape& s, std::int64_t group, std::int64_t first) {
  const std::int64_t taps = s.w.taps();
  return {call.in(1).as<const float>() + (group * s.ci * s.co + first) * taps, 1, s.co * taps};
}

Plan plan(const Call& call, const Vector& vector) {
  const Shape s = shape_of(call);
  std::int64_t floats = block_scratch(vector) + rows_of_unit(s) * s.w.in_pixels();
  if (goes_by_rows(s)) floats += phases_of(s.w).count * phases_of(s.w).size;
  const std::int64_t blocks = s.groups * channel_blocks(s);
  const std::int64_t packed = is_packed(call) ? blocks * packed_unit(s, vector) : 0;
  return plan_of_units(s.images * blocks, static_cast<std::size_t>(packed) * sizeof(float),
                       static_cast<std::size_t>(floats) * sizeof(float));
}

void prepare(const Call& call, const Vector& vector, std::uint8_t* prepared) {
  const Shape s = shape_of(call);
  auto* to = reinterpret_cast<float*>(prepared);
  for (std::int64_t group = 0; group < s.groups; ++group)
    for (std::int64_t b = 0; b < channel_blocks(s); ++b, to += packed_unit(s, vector)) {
      const std::int64_t first = b * channels_of_unit(s), channels = std::min(channels_of_unit(s), s.co - first);
      pack_all_rows(vector, weights_of(call, s, group, first), std::min(kRows, channels * s.w.taps()), s.ci, to);
    }
}

// One unit being computed.
struct Unit {
  std::int64_t image, group, block, first, channels;
  float *scratch, *columns, *phases;
};

// Rows [r, r + count) of the product with all pixels, added to what stands in `start`, if anything.
void multiply_rows(const Task& task, const Shape& s, const Unit& u, std::int64_t r, std::int64_t count,
                   const float* start) {
  const Vector& vector = task.vector;
  const std::int64_t n = s.w.in_pixels();
  const float* x = task.call.in(0).as<const float>() + (u.image * s.groups + u.group) * s.ci * n;
  const Matrix pixels{x, n, 1}, weights = weights_of(task.call, s, u.group, u.first);
  const float* packed =
      reinterpret_cast<const float*>(task.prepared) + (u.group * channel_blocks(s) + u.block) * packed_unit(s, vector);
  float *tiles = u.scratch, *panels = tiles + kDepth * kBlockRows;
  for (std::int64_t n0 = 0; n0 < n; n0 += block_columns(vector)) {
    const std::int64_t n1 = std::min(n, n0 + block_columns(vector));
    multiply(
        vector, 0, count, n0, n1, s.ci, u.columns, n, start,
        [&](std::int64_t, std::int64_t, std::int64_t k0, std::int64_t depth) -> const float* {
          if (is_packed(task.call) && r == 0) return tiles_at(vector, packed, count, 0, k0, depth);
          pack_rows(vector, weights, r, r + count, k0, depth, tiles);
          return tiles;
        },
        [&](std::int64_t k0, std::int64_t depth) {
          pack_columns(vector, pixels, n0, n1, k0, depth, panels);
          return panels;
        });
  }
}

// Adds what taps of one row of the kernel bring to a row of the output; `from` is the first tap's row of the input.
void add_kernel_row(const Vector& vector, const Window& w, const Phases& p, const float* from, float* phases) {
  const auto add = vector.arithmetic[static_cast<int>(Arithmetic::Add)];
  for (std::int64_t kx = 0; kx < w.kernel[2]; ++kx, from += w.in_pixels()) {
    const std::int64_t x = kx * w.dilation[2] - w.before[2], shift = quotient_of(x, p.count);
    float* to = phases + (x - shift * p.count) * p.size + p.lead + shift;
    add(to, 1, from, 1, to, w.in[2]);
  }
}

// Whether every output comes from one tap: those of a row of the kernel then lie side by side.
bool is_tiled(const Window& w) {
  bool tiled = true;
  for (int d = 0; d < 3; ++d)
    tiled = tiled && w.kernel[d] == w.stride[d] && w.dilation[d] == 1 && w.before[d] == 0 &&
            w.out[d] <= w.in[d] * w.stride[d];
  return tiled;
}

// A plane of such outputs from the products of its taps, which hold the bias.
void interleave_plane(const Vector& vector, const Window& w, const float* products, float* y) {
  for (std::int64_t oz = 0; oz < w.out[0]; ++oz)
    for (std::int64_t oy = 0; oy < w.out[1]; ++oy, y += w.out[2]) {
      const std::int64_t row = oz / w.stride[0] * w.in[1] + oy / w.stride[1];
      const std::int64_t tap = (oz % w.stride[0] * w.kernel[1] + oy % w.stride[1]) * w.kernel[2];
      vector.interleave(products + tap * w.in_pixels() + row * w.in[2], w.in_pixels(), w.stride[2], y, w.out[2]);
    }
}

// Where an output stands in the input for a tap, or -1.
std::int64_t source_of(const Window& w, int axis, std::int64_t out, std::int64_t tap) {
  const std::int64_t at = out + w.before[axis] - tap * w.dilation[axis];
  return at >= 0 && at % w.stride[axis] == 0 && at / w.stride[axis] < w.in[axis] ? at / w.stride[axis] : -1;
}

// A plane of the output from the products of its taps.
void gather_plane(const Vector& vector, const Window& w, const float* products, float bias, float* phases, float* y) {
  const Phases p = phases_of(w);
  for (std::int64_t oz = 0; oz < w.out[0]; ++oz)
    for (std::int64_t oy = 0; oy < w.out[1]; ++oy, y += w.out[2]) {
      std::fill(phases, phases + p.count * p.size, bias);
      for (std::int64_t kz = 0; kz < w.kernel[0]; ++kz)
        for (std::int64_t ky = 0; ky < w.kernel[1]; ++ky) {
          const std::int64_t pz = source_of(w, 0, oz, kz), py = source_of(w, 1, oy, ky);
          if (pz < 0 || py < 0) continue;
          const std::int64_t tap = (kz * w.kernel[1] + ky) * w.kernel[2];
          add_kernel_row(vector, w, p, products + tap * w.in_pixels() + (pz * w.in[1] + py) * w.in[2], phases);
        }
      vector.interleave(phases + p.lead, p.size, p.count, y, w.out[2]);
    }
}

// Taps one after another into the planes: for kernels of many taps.
void scatter_planes(const Task& task, const Shape& s, const Unit& u, const float* bias, float* y) {
  const std::int64_t taps = s.w.taps(), rows = u.channels * taps;
  for (std::int64_t o = 0; o < u.channels; ++o)
    std::fill(y + o * s.w.out_pixels(), y + (o + 1) * s.w.out_pixels(), bias ? bias[o] : 0.0f);
  for (std::int64_t r = 0; r < rows; r += kRows) {
    const std::int64_t count = std::min(kRows, rows - r);
    multiply_rows(task, s, u, r, count, nullptr);
    for (std::int64_t k = r; k < r + count; ++k)
      add_tap(s.w, s.w.in, k % taps, u.columns + (k - r) * s.w.in_pixels(), y + k / taps * s.w.out_pixels());
  }
}

void compute(const Task& task, const Shape& s, const Unit& u) {
  const std::int64_t channel = u.group * s.co + u.first, taps = s.w.taps();
  const float* bias = task.call.in(2) ? task.call.in(2).as<const float>() + channel : nullptr;
  float* y = task.call.out().as<float>() + (u.image * s.groups * s.co + channel) * s.w.out_pixels();
  if (!goes_by_rows(s)) return scatter_planes(task, s, u, bias, y);
  if (is_tiled(s.w)) {
    float start[kRows];
    for (std::int64_t r = 0; r < u.channels * taps; ++r) start[r] = bias ? bias[r / taps] : 0;
    multiply_rows(task, s, u, 0, u.channels * taps, start);
    for (std::int64_t o = 0; o < u.channels; ++o)
      interleave_plane(task.vector, s.w, u.columns + o * taps * s.w.in_pixels(), y + o * s.w.out_pixels());
    return;
  }
  multiply_rows(task, s, u, 0, u.channels * taps, nullptr);
  for (std::int64_t o = 0; o < u.channels; ++o)
    gather_plane(task.vector, s.w, u.columns + o * taps * s.w.in_pixels(), bias ? bias[o] : 0.0f, u.phases,
                 y + o * s.w.out_pixels());
}

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Shape s = shape_of(task.call);
  auto* scratch = reinterpret_cast<float*>(task.scratch);
  float* columns = scratch + block_scratch(task.vector);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t block = unit % channel_blocks(s), matrix = unit / channel_blocks(s);
    const std::int64_t first = block * channels_of_unit(s);
    compute(task, s,
            {matrix / s.groups, matrix % s.groups, block, first, std::min(channels_of_unit(s), s.co - first), scratch,
             columns, columns + rows_of_unit(s) * s.w.in_pixels()});
  }
  return nullptr;
}

// ---- Col2Im

Plan image_plan(const Call& call, const Vector&) { return plan_of_units(call.out().extent[0] * call.out().extent[1]); }

const char* image_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &y = task.call.out();
  const operators::Integers block = task.call.parameter(2);
  Window w;
  if (operators::window_of(task.call, y, y, block.data, w)) return nullptr;
  std::int64_t positions[3];
  for (int d = 0; d < 3; ++d)
    positions[d] = (w.in[d] + w.before[d] + w.behind[d] - (w.kernel[d] - 1) * w.dilation[d] - 1) / w.stride[d] + 1;
  for (std::int64_t plane = begin; plane < end; ++plane) {
    float* image = y.as<float>() + plane * w.out_pixels();
    std::memset(image, 0, static_cast<std::size_t>(w.out_pixels()) * sizeof(float));
    for (std::int64_t t = 0; t < w.taps(); ++t)
      add_tap(w, positions, t, x.as<const float>() + (plane * w.taps() + t) * x.extent[2], image);
  }
  return nullptr;
}

constexpr Kernel kTable[] = {
    {"ConvTranspose", plan, prepare, run},
    {"Col2Im", image_plan, nullptr, image_run},
};

}  // namespace

const Span<const Kernel> kTransposedKernels(kTable);

}  // namespace openbpu::kernels::cpu
