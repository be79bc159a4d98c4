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

// ---- ConvTranspose: a unit is some output channels of a group; its columns go through scratch in blocks of positions

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
constexpr std::int64_t kRows = 64;

std::int64_t channels_of_unit(const Shape& s) { return std::max<std::int64_t>(1, kRows / s.w.taps()); }
std::int64_t channel_blocks(const Shape& s) { return (s.co + channels_of_unit(s) - 1) / channels_of_unit(s); }

Plan plan(const Call& call, const Vector& vector) {
  const Shape s = shape_of(call);
  const std::int64_t rows = std::min(kRows, channels_of_unit(s) * s.w.taps());
  const std::int64_t floats = block_scratch(vector) + rows * s.w.in_pixels();
  return plan_of_units(s.images * s.groups * channel_blocks(s), 0, static_cast<std::size_t>(floats) * sizeof(float));
}

// Channels [first, last) of a group.
void channels(const Task& task, const Shape& s, std::int64_t image, std::int64_t group, std::int64_t first,
              std::int64_t last) {
  const Call& call = task.call;
  const Vector& vector = task.vector;
  auto *scratch = reinterpret_cast<float*>(task.scratch), *columns = scratch + block_scratch(vector);
  const std::int64_t n = s.w.in_pixels(), taps = s.w.taps(), rows = (last - first) * taps;
  const float* x = call.in(0).as<const float>() + (image * s.groups + group) * s.ci * n;
  const float* weights = call.in(1).as<const float>() + (group * s.ci * s.co + first) * taps;
  float* y = call.out().as<float>() + ((image * s.groups + group) * s.co + first) * s.w.out_pixels();
  for (std::int64_t o = first; o < last; ++o) {
    const float bias = call.in(2) ? call.in(2).as<const float>()[group * s.co + o] : 0;
    std::fill(y + (o - first) * s.w.out_pixels(), y + (o - first + 1) * s.w.out_pixels(), bias);
  }
  for (std::int64_t r = 0; r < rows; r += kRows) {
    const std::int64_t count = std::min(kRows, rows - r);
    for (std::int64_t n0 = 0; n0 < n; n0 += block_columns(vector))
      multiply(vector, {weights + r, 1, s.co * taps}, {x, n, 1}, 0, count, n0, std::min(n, n0 + block_columns(vector)),
               s.ci, columns, n, nullptr, scratch);
    for (std::int64_t k = r; k < r + count; ++k)
      add_tap(s.w, s.w.in, k % taps, columns + (k - r) * n, y + k / taps * s.w.out_pixels());
  }
}

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Shape s = shape_of(task.call);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t first = unit % channel_blocks(s) * channels_of_unit(s), matrix = unit / channel_blocks(s);
    channels(task, s, matrix / s.groups, matrix % s.groups, first, std::min(s.co, first + channels_of_unit(s)));
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
    {"ConvTranspose", plan, nullptr, run},
    {"Col2Im", image_plan, nullptr, image_run},
};

}  // namespace

const Span<const Kernel> kTransposedKernels(kTable);

}  // namespace openbpu::kernels::cpu
