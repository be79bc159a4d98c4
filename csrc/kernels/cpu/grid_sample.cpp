// GridSample: places and weights of the taps of a block of points, which serve all channels.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {
namespace {

struct Grid {
  int dimensions, mode, padding;
  bool corners;
  std::int64_t in[3];
};

// Into [0, 2 * (high - low)) and back.
double reflected(double x, double low, double high) {
  const double span = high - low;
  if (span <= 0) return low;
  const double turns = std::fmod(std::fabs(x - low), 2 * span);
  return low + (turns > span ? 2 * span - turns : turns);
}

// Pixel coordinate of a normalised one.
double denormalised(const Grid& g, double x, std::int64_t size) {
  const auto n = static_cast<double>(size);
  return g.corners ? (x + 1) / 2 * (n - 1) : ((x + 1) * n - 1) / 2;
}

// A coordinate as the padding mode wants it. Not-a-number and what lies very far goes outside.
double padded(const Grid& g, double x, std::int64_t size) {
  const auto n = static_cast<double>(size);
  if (!(std::fabs(x) < 1e9)) x = g.padding == 0 ? -1e9 : -1;
  if (g.padding == 1) return std::clamp(x, 0.0, n - 1);
  if (g.padding == 2) return std::clamp(g.corners ? reflected(x, 0, n - 1) : reflected(x, -0.5, n - 0.5), 0.0, n - 1);
  return x;
}

double cubic(double d) {
  constexpr double a = -0.75;
  d = std::fabs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

constexpr std::int64_t kPoints = 1024;  // of a unit: their taps serve all channels

std::int64_t taps_of(const Grid& g) {  // per dimension
  return g.mode == 1 ? 1 : g.mode == 2 ? 4 : 2;
}
std::int64_t taps_of_point(const Grid& g) {
  const std::int64_t taps = taps_of(g);
  return g.dimensions == 3 ? taps * taps * taps : taps * taps;
}

Grid grid_of(const Call& call) {
  const Tensor& x = call.in(0);
  Grid g{x.rank - 2, call.choice("mode"), call.choice("padding_mode"), call.integer("align_corners") != 0, {1, 1, 1}};
  for (int d = 0; d < g.dimensions; ++d) g.in[3 - g.dimensions + d] = x.extent[2 + d];
  return g;
}

// As std::floor, which is a call without SSE4.1; |x| < 2^62.
std::int64_t floor_of(double x) {
  const auto whole = static_cast<std::int64_t>(x);
  return whole - (x < static_cast<double>(whole));
}

// Index of a tap along a dimension, or -1 for a zero outside.
std::int64_t tap_index(const Grid& g, std::int64_t k, std::int64_t size) {
  if (k >= 0 && k < size) return k;
  return g.padding == 0 ? -1 : static_cast<std::int64_t>(padded(g, static_cast<double>(k), size));
}

// Whether the two taps of a row are read together: places side by side, whatever lies outside.
bool goes_in_pairs(const Grid& g) { return g.mode == 0 && g.in[2] > 1; }

// Moves two taps of a row to columns side by side; those that fall together have one weight.
void pair_taps(std::int64_t width, std::int64_t (&index)[4], double (&weight)[4]) {
  const std::int64_t least = index[0] < 0 || (index[1] >= 0 && index[1] < index[0]) ? index[1] : index[0];
  const std::int64_t first = std::clamp<std::int64_t>(least, 0, width - 2);
  double of[2] = {};
  for (int t = 0; t < 2; ++t)
    if (index[t] >= 0) of[index[t] - first] += weight[t];
  for (int t = 0; t < 2; ++t) index[t] = first + t, weight[t] = of[t];
}

// Places and weights of the taps of one point; entries of its taps lie kPoints apart.
void place_taps(const Grid& g, const float* point, std::int32_t* places, float* weights) {
  std::int64_t index[3][4] = {};
  double weight[3][4] = {{1}, {1}, {1}};
  const std::int64_t taps = taps_of(g);
  for (int d = 0; d < g.dimensions; ++d) {  // the grid has x first
    const int axis = 2 - d;
    const double raw = denormalised(g, static_cast<double>(point[d]), g.in[axis]);
    const double at = g.mode == 2 ? (std::fabs(raw) < 1e9 ? raw : -1e9) : padded(g, raw, g.in[axis]);
    const std::int64_t first = g.mode == 1 ? static_cast<std::int64_t>(std::nearbyint(at)) : floor_of(at) - (taps == 4);
    for (std::int64_t t = 0; t < taps; ++t) {
      const double distance = at - static_cast<double>(first + t);
      weight[axis][t] = g.mode == 1 ? 1 : g.mode == 2 ? cubic(distance) : 1 - std::fabs(distance);
      index[axis][t] = tap_index(g, first + t, g.in[axis]);
    }
  }
  if (goes_in_pairs(g)) pair_taps(g.in[2], index[2], weight[2]);
  const std::int64_t depth = g.dimensions == 3 ? taps : 1;
  for (std::int64_t z = 0; z < depth; ++z)
    for (std::int64_t y = 0; y < taps; ++y)
      for (std::int64_t x = 0; x < taps; ++x, places += kPoints, weights += kPoints) {
        const bool inside = index[0][z] >= 0 && index[1][y] >= 0 && index[2][x] >= 0;
        *places = inside ? static_cast<std::int32_t>((index[0][z] * g.in[1] + index[1][y]) * g.in[2] + index[2][x]) : 0;
        *weights = inside ? static_cast<float>(weight[0][z] * weight[1][y] * weight[2][x]) : 0;
      }
}

// Units: blocks of points of an image.
Plan grid_plan(const Call& call, const Vector&) {
  const Tensor& y = call.out();
  const auto entries = static_cast<std::size_t>(taps_of_point(grid_of(call)) * kPoints);
  return plan_of_units(y.extent[0] * ((y.product(2, y.rank) + kPoints - 1) / kPoints), 0,
                       entries * (sizeof(std::int32_t) + sizeof(float)));
}

const char* grid_run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Tensor &x = task.call.in(0), &grid = task.call.in(1), &y = task.call.out();
  const Grid g = grid_of(task.call);
  const std::int64_t pixels = y.product(2, y.rank), in = g.in[0] * g.in[1] * g.in[2], taps = taps_of_point(g);
  const std::int64_t blocks = (pixels + kPoints - 1) / kPoints, channels = x.extent[1];
  auto* places = reinterpret_cast<std::int32_t*>(task.scratch);
  auto* weights = reinterpret_cast<float*>(places + taps * kPoints);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t image = unit / blocks, first = unit % blocks * kPoints, n = std::min(kPoints, pixels - first);
    const float* points = grid.as<const float>() + (image * pixels + first) * g.dimensions;
    std::memset(places, 0, static_cast<std::size_t>(taps * kPoints) * sizeof(std::int32_t));
    for (std::int64_t p = 0; p < n; ++p) place_taps(g, points + p * g.dimensions, places + p, weights + p);
    for (std::int64_t c = image * channels; c < (image + 1) * channels; ++c)
      task.vector.gather({x.as<const float>() + c * in, places, weights, taps, kPoints,
                          y.as<float>() + c * pixels + first, n, goes_in_pairs(g)});
  }
  return nullptr;
}

constexpr Kernel kTable[] = {{"GridSample", grid_plan, nullptr, grid_run}};

}  // namespace

const Span<const Kernel> kGridKernels(kTable);

}  // namespace openbpu::kernels::cpu
