// Conv: as products of weights and gathered columns, or tap by tap where a group has one input channel.
#include <cstring>
#include <new>
#include <type_traits>

#include "kernels/cpu/gemm.hpp"
#include "kernels/cpu/kernel.hpp"
#include "kernels/cpu/planes.hpp"

namespace openbpu::kernels::cpu {
namespace {

using operators::Window;

struct Shape {
  Window w;
  std::int64_t images, groups, ci, co, k;  // ci and co of a group; k = ci * taps
};

// One tap, which stands on the output's own place.
bool is_pointwise(const Window& w) {
  bool same = w.taps() == 1;
  for (int d = 0; d < 3; ++d) same = same && w.stride[d] == 1 && w.before[d] == 0 && w.in[d] == w.out[d];
  return same;
}

Shape shape_of(const Call& call) {
  const Tensor &x = call.in(0), &weights = call.in(1);
  Shape s{};
  if (operators::window_of(call, x, call.out(), weights.extent + 2, s.w)) return {};
  s.images = x.extent[0];
  s.groups = call.integer("group");
  s.ci = weights.extent[1];
  s.co = weights.extent[0] / s.groups;
  s.k = s.ci * s.w.taps();
  if (is_pointwise(s.w)) {  // rows of an image lie end to end
    s.w.in[2] = s.w.out[2] = s.w.in_pixels();
    s.w.in[0] = s.w.in[1] = s.w.out[0] = s.w.out[1] = 1;
  }
  return s;
}

// ---- one input channel per group

bool is_depthwise(const Shape& s) { return s.ci == 1 && has_planes(s.w); }

void fill_offsets(const Window& w, std::int32_t* offsets) {
  const Planes p = planes_of(w);
  for (std::int64_t ky = 0; ky < w.kernel[1]; ++ky)
    for (std::int64_t kx = 0; kx < w.kernel[2]; ++kx)
      *offsets++ = static_cast<std::int32_t>(ky * w.dilation[1] * p.row() + p.offset(kx * w.dilation[2]));
}

void depthwise_unit(const Task& task, const Shape& s, std::int64_t image, std::int64_t group) {
  const Call& call = task.call;
  const Planes p = planes_of(s.w);
  auto* padded = reinterpret_cast<float*>(task.scratch);
  fill_planes(s.w, call.in(0).as<const float>() + (image * s.groups + group) * s.w.in_pixels(), 0, padded);
  for (std::int64_t o = group * s.co; o < (group + 1) * s.co; ++o) {
    const float* weights = call.in(1).as<const float>() + o * s.k;
    const float bias = call.in(2) ? call.in(2).as<const float>()[o] : 0;
    float* y = call.out().as<float>() + (image * s.groups * s.co + o) * s.w.out_pixels();
    task.vector.taps({padded, s.w.stride[1] * p.row(), reinterpret_cast<const std::int32_t*>(task.prepared), weights,
                      s.k, bias, y, s.w.out[1], s.w.out[2]});
  }
}

// ---- products

// Outputs side by side in a row: where the first tap of the first of them lies in the input.
struct Run {
  std::int64_t z, y, x, count;
};

constexpr std::int64_t kMostRuns = 64;  // columns of a panel

// Cuts outputs [first, last) into runs; their number.
int runs_of(const Window& w, std::int64_t first, std::int64_t last, Run (&runs)[kMostRuns]) {
  int count = 0;
  for (std::int64_t at = first; at < last; ++count) {
    const std::int64_t column = at % w.out[2], row = at / w.out[2] % w.out[1], depth = at / (w.out[2] * w.out[1]);
    const std::int64_t n = std::min(w.out[2] - column, last - at);
    runs[count] = {depth * w.stride[0] - w.before[0], row * w.stride[1] - w.before[1],
                   column * w.stride[2] - w.before[2], n};
    at += n;
  }
  return count;
}

// n floats: blocks, of which the last may begin earlier.
void copy_floats(const float* from, std::int64_t n, float* to) {
  const auto blocks = [&](auto size) {
    constexpr std::int64_t count = decltype(size)::value;
    std::int64_t i = 0;
    for (; i + count <= n; i += count) std::memcpy(to + i, from + i, count * sizeof(float));
    if (i < n) std::memcpy(to + n - count, from + n - count, count * sizeof(float));
  };
  if (n >= 16) return blocks(std::integral_constant<std::int64_t, 16>{});
  if (n >= 4) return blocks(std::integral_constant<std::int64_t, 4>{});
  for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
}

// The inputs of one tap under a run; `to` gets `count` values.
void gather_run(const Window& w, const float* row, std::int64_t x, std::int64_t count, float* to) {
  const std::int64_t stride = w.stride[2];
  if (stride == 1 && x >= 0 && x + count <= w.in[2]) return copy_floats(row + x, count, to);
  std::int64_t begin = 0, end = count;
  if (x < 0) begin = std::min(count, stride == 1 ? -x : (stride - 1 - x) / stride);
  if (x + (count - 1) * stride >= w.in[2]) {
    const std::int64_t room = w.in[2] - x;
    end = std::max(begin, room <= 0 ? 0 : (room + stride - 1) / stride);
  }
  for (std::int64_t i = 0; i < begin; ++i) to[i] = 0;
  const float* from = row + x + begin * stride;
  if (stride == 1)
    copy_floats(from, end - begin, to + begin);
  else if (stride == 2)
    copy_evens(from, end - begin, to + begin);
  else
    for (std::int64_t i = begin; i < end; ++i, from += stride) to[i] = *from;
  for (std::int64_t i = end; i < count; ++i) to[i] = 0;
}

// Columns [n0, n1) of the gathered inputs, k [k0, k0 + depth), as panels.
void gather_block(const Vector& vector, const Window& w, const float* x, std::int64_t n0, std::int64_t n1,
                  std::int64_t k0, std::int64_t depth, float* panels) {
  Run runs[kMostRuns];
  for (std::int64_t n = n0; n < n1; n += vector.columns) {
    const std::int64_t used = std::min(vector.columns, n1 - n);
    const int count = runs_of(w, n, n + used, runs);
    std::int64_t kx = k0 % w.kernel[2], ky = k0 / w.kernel[2] % w.kernel[1];
    std::int64_t kz = k0 / (w.kernel[2] * w.kernel[1]) % w.kernel[0];
    const float* image = x + k0 / w.taps() * w.in_pixels();
    for (std::int64_t k = 0; k < depth; ++k, panels += vector.columns) {
      float* to = panels;
      for (int r = 0; r < count; to += runs[r].count, ++r) {
        const std::int64_t z = runs[r].z + kz * w.dilation[0], y = runs[r].y + ky * w.dilation[1];
        if (z < 0 || z >= w.in[0] || y < 0 || y >= w.in[1])
          std::memset(to, 0, static_cast<std::size_t>(runs[r].count) * sizeof(float));
        else
          gather_run(w, image + (z * w.in[1] + y) * w.in[2], runs[r].x + kx * w.dilation[2], runs[r].count, to);
      }
      for (std::int64_t i = used; i < vector.columns; ++i) panels[i] = 0;
      if (++kx < w.kernel[2]) continue;
      kx = 0;
      if (++ky < w.kernel[1]) continue;
      ky = 0;
      if (++kz < w.kernel[0]) continue;
      kz = 0;
      image += w.in_pixels();
    }
  }
}

struct Cut {
  std::int64_t column_blocks, row_blocks, row_block;
};

constexpr std::int64_t kLeastRows = 192;

Cut cut_of(const Shape& s, const Vector& vector) {
  Cut cut{};
  cut.column_blocks = (s.w.out_pixels() + block_columns(vector) - 1) / block_columns(vector);
  const std::int64_t have = s.images * s.groups * cut.column_blocks;
  // A block of rows gathers its columns anew: it needs many rows to be worth it.
  const std::int64_t parts = std::min((8 + have - 1) / have, std::max<std::int64_t>(1, s.co / kLeastRows));
  cut.row_block = rounded((s.co + parts - 1) / parts, kBlockRows);
  cut.row_blocks = (s.co + cut.row_block - 1) / cut.row_block;
  return cut;
}

void product_unit(const Task& task, const Shape& s, std::int64_t unit) {
  const Call& call = task.call;
  const Vector& vector = task.vector;
  const Cut cut = cut_of(s, vector);
  const std::int64_t row = unit % cut.row_blocks, column = unit / cut.row_blocks % cut.column_blocks;
  const std::int64_t matrix = unit / cut.row_blocks / cut.column_blocks, group = matrix % s.groups;
  const float* x = call.in(0).as<const float>() + matrix * s.ci * s.w.in_pixels();
  const float* start = call.in(2) ? call.in(2).as<const float>() + group * s.co : nullptr;
  const Matrix weights{call.in(1).as<const float>() + group * s.co * s.k, s.k, 1};
  const float* packed = reinterpret_cast<const float*>(task.prepared) + group * packed_rows(vector, s.co, s.k);
  auto *tiles = reinterpret_cast<float*>(task.scratch), *panels = tiles + kDepth * kBlockRows;
  const std::int64_t n0 = column * block_columns(vector), n1 = std::min(s.w.out_pixels(), n0 + block_columns(vector));
  const std::int64_t m0 = row * cut.row_block, m1 = std::min(s.co, m0 + cut.row_block);
  multiply(
      vector, m0, m1, n0, n1, s.k, call.out().as<float>() + matrix * s.co * s.w.out_pixels(), s.w.out_pixels(), start,
      [&](std::int64_t r, std::int64_t end, std::int64_t k0, std::int64_t depth) -> const float* {
        if (call.in(1).constant) return tiles_at(vector, packed, s.co, r, k0, depth);
        pack_rows(vector, weights, r, end, k0, depth, tiles);
        return tiles;
      },
      [&](std::int64_t k0, std::int64_t depth) {
        gather_block(vector, s.w, x, n0, n1, k0, depth, panels);
        return panels;
      });
}

// ---- products of rows of the input where they lie

// A block of output rows of a group needs some rows of the input. These are laid out padded, sorted by the remainders
// of their rows and columns modulo the strides, in planes of `rows` times `columns`: so a tap meets all outputs of the
// block end to end, but for a few columns between rows that are computed for nothing.
struct Block {
  std::int64_t out_rows, blocks;                                     // of the output
  std::int64_t rows, columns, plane;                                 // plane: all phases of a channel
  std::int64_t outputs() const { return (out_rows - 1) * columns; }  // and the last row

  std::int64_t scratch(const Shape& s, const Vector& vector) const {
    return s.ci * plane + vector.columns + std::min(s.co, kBlockRows) * (outputs() + s.w.out[2]);
  }
};

// No rows if columns are to be gathered: where there are many rows of weights for them, or too much for nothing.
Block block_of(const Shape& s) {
  constexpr std::int64_t most_outputs = 512, most_inputs = 1 << 16, least_units = 4;
  const Window& w = s.w;
  if (!has_planes(w) || w.taps() == 1 || s.co > kLeastRows) return {};
  Block b{};
  b.columns = planes_of(w).columns;
  const std::int64_t below = (w.kernel[1] - 1) * w.dilation[1] / w.stride[1], phases = w.stride[1] * w.stride[2];
  const std::int64_t room = most_inputs / (s.ci * phases * b.columns) - below;
  const std::int64_t most = std::min({most_outputs / b.columns, room, w.out[1]});
  if (4 * b.columns > 5 * w.out[2] || most < std::min(w.out[1], 2 * below)) return {};
  const std::int64_t parts = (least_units + s.images * s.groups - 1) / (s.images * s.groups);
  b.out_rows = std::max<std::int64_t>(1, std::min(most, (w.out[1] + parts - 1) / parts));
  b.blocks = (w.out[1] + b.out_rows - 1) / b.out_rows;
  b.rows = b.out_rows + below;
  b.plane = phases * b.rows * b.columns;
  return b;
}

void fill_places(const Shape& s, const Block& b, std::int32_t* places) {
  const Window& w = s.w;
  for (std::int64_t c = 0; c < s.ci; ++c)
    for (std::int64_t ky = 0; ky < w.kernel[1]; ++ky)
      for (std::int64_t kx = 0; kx < w.kernel[2]; ++kx) {
        const std::int64_t y = ky * w.dilation[1], x = kx * w.dilation[2];
        const std::int64_t phase = y % w.stride[1] * w.stride[2] + x % w.stride[2];
        *places++ =
            static_cast<std::int32_t>(c * b.plane + (phase * b.rows + y / w.stride[1]) * b.columns + x / w.stride[2]);
      }
}

// The inputs under output rows from `first` on, all channels of a group.
void fill_block(const Shape& s, const Block& b, const float* x, std::int64_t first, float* to) {
  const Window& w = s.w;
  const Planes p = planes_of(w);
  for (std::int64_t c = 0; c < s.ci; ++c, x += w.in_pixels())
    for (std::int64_t phase = 0; phase < w.stride[1] * w.stride[2]; ++phase)
      for (std::int64_t row = 0; row < b.rows; ++row, to += b.columns) {
        const std::int64_t y = (first + row) * w.stride[1] + phase / w.stride[2] - w.before[1];
        if (y < 0 || y >= w.in[1])
          std::fill(to, to + b.columns, 0.0f);
        else
          fill_row(w, p, x + y * w.in[2], phase % w.stride[2] - w.before[2], 0, to);
      }
}

void block_unit(const Task& task, const Shape& s, const Block& b, std::int64_t unit) {
  const Call& call = task.call;
  const Vector& vector = task.vector;
  const std::int64_t matrix = unit / b.blocks, first = unit % b.blocks * b.out_rows, group = matrix % s.groups;
  const std::int64_t out_rows = std::min(b.out_rows, s.w.out[1] - first);
  const std::int64_t n = (out_rows - 1) * b.columns + s.w.out[2];
  auto *inputs = reinterpret_cast<float*>(task.scratch), *results = inputs + s.ci * b.plane + vector.columns;
  fill_block(s, b, call.in(0).as<const float>() + matrix * s.ci * s.w.in_pixels(), first, inputs);
  const auto* places = reinterpret_cast<const std::int32_t*>(task.prepared);
  const float* packed = reinterpret_cast<const float*>(places + s.k) + group * packed_rows(vector, s.co, s.k);
  for (std::int64_t m = 0; m < s.co; m += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, s.co - m);
    const float* start = call.in(2) ? call.in(2).as<const float>() + group * s.co + m : nullptr;
    for (std::int64_t k = 0; k < s.k; k += kDepth) {
      const std::int64_t depth = std::min(kDepth, s.k - k);
      vector.product(
          {tiles_at(vector, packed, s.co, m, k, depth), inputs, results, n, rows, n, depth, start, k > 0, places + k});
    }
    float* y = call.out().as<float>() + (matrix * s.co + m) * s.w.out_pixels() + first * s.w.out[2];
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t o = 0; o < out_rows; ++o)
        copy_floats(results + r * n + o * b.columns, s.w.out[2], y + r * s.w.out_pixels() + o * s.w.out[2]);
  }
}

Plan plan(const Call& call, const Vector& vector) {
  const Shape s = shape_of(call);
  if (is_depthwise(s))
    return plan_of_units(s.images * s.groups, static_cast<std::size_t>(s.k) * sizeof(std::int32_t),
                         static_cast<std::size_t>(planes_of(s.w).size() + 16) * sizeof(float));
  if (const Block b = block_of(s); b.out_rows > 0 && call.in(1).constant)
    return plan_of_units(s.images * s.groups * b.blocks,
                         static_cast<std::size_t>(s.groups * packed_rows(vector, s.co, s.k) + s.k) * sizeof(float),
                         static_cast<std::size_t>(b.scratch(s, vector)) * sizeof(float));
  const Cut cut = cut_of(s, vector);
  const std::int64_t packed = call.in(1).constant ? s.groups * packed_rows(vector, s.co, s.k) : 0;
  return plan_of_units(s.images * s.groups * cut.column_blocks * cut.row_blocks,
                       static_cast<std::size_t>(packed) * sizeof(float),
                       static_cast<std::size_t>(block_scratch(vector)) * sizeof(float));
}

void prepare(const Call& call, const Vector& vector, std::uint8_t* prepared) {
  const Shape s = shape_of(call);
  if (is_depthwise(s)) return fill_offsets(s.w, reinterpret_cast<std::int32_t*>(prepared));
  if (!call.in(1).constant) return;
  if (const Block b = block_of(s); b.out_rows > 0) {
    fill_places(s, b, reinterpret_cast<std::int32_t*>(prepared));
    prepared += static_cast<std::size_t>(s.k) * sizeof(std::int32_t);
  }
  for (std::int64_t g = 0; g < s.groups; ++g)
    pack_all_rows(vector, {call.in(1).as<const float>() + g * s.co * s.k, s.k, 1}, s.co, s.k,
                  reinterpret_cast<float*>(prepared) + g * packed_rows(vector, s.co, s.k));
}

const char* run(const Task& task, std::int32_t begin, std::int32_t end) {
  const Shape s = shape_of(task.call);
  const bool depthwise = is_depthwise(s);
  const Block b = task.call.in(1).constant ? block_of(s) : Block{};
  for (std::int64_t unit = begin; unit < end; ++unit)
    if (depthwise)
      depthwise_unit(task, s, unit / s.groups, unit % s.groups);
    else if (b.out_rows > 0)
      block_unit(task, s, b, unit);
    else
      product_unit(task, s, unit);
  return nullptr;
}

constexpr Kernel kTable[] = {{"Conv", plan, prepare, run}};

}  // namespace

const Span<const Kernel> kConvKernels(kTable);

}  // namespace openbpu::kernels::cpu
