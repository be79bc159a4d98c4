// CONV2D, GCONV2D and MATMUL of int16; included by the file of each ISA, which supplies Wide.
//
// A step is two inputs of one tap: a lane multiplies a pair of int16 activations by a pair of weights and adds both
// products to an int32. A tile is 4 pixels by 2 registers of channels. Sums of int32 hold as long as the weights of a
// channel add up to less than 2^16 in magnitude: steps are cut into chunks for which they do, and sums of chunks are
// added in 64 bits.
//
// One tap without padding reads the tensor where it lies; else a unit copies the rows under its output rows.
#pragma once

#include "kernels/canonical_weights.hpp"
#include "kernels/conv/conv_rows.hpp"
#include "kernels/padding.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kBlock16 = 2 * Wide::kWords, kTile16 = 4, kUnitPixels16 = 64;
constexpr std::int32_t kLeastChunk = 255;  // steps whose weights always fit: 255 * 2 * 128 < 2^16
constexpr std::size_t kStepBytes = 4 * kBlock16;

struct Layout16 {
  bool direct;
  std::int32_t ci, co, taps, blocks, pairs, steps, chunks;
  std::int32_t rows, row_units, window_rows, window_columns;
  std::size_t step_at, weight_at, block_bytes;  // of a block: scales, ends of chunks, offsets of steps, weights
};

OPENBPU_INLINE Layout16 lay_out16(const Conv16Params& p) {
  Layout16 l{};
  l.ci = p.in.c / p.groups;
  l.co = p.out.c / p.groups;
  l.taps = p.kernel_h * p.kernel_w;
  l.blocks = ceil_div(l.co, kBlock16);
  l.pairs = ceil_div(l.ci, 2);
  l.steps = l.taps * l.pairs;
  l.chunks = ceil_div(l.steps, kLeastChunk);
  l.direct = l.taps == 1 && p.pad_top <= 0 && p.pad_left <= 0 && (p.out.h - 1) * p.stride_h - p.pad_top < p.in.h &&
             (p.out.w - 1) * p.stride_w - p.pad_left < p.in.w;
  l.rows = min(p.out.h, ceil_div(kUnitPixels16, p.out.w));
  l.row_units = ceil_div(p.out.h, l.rows);
  l.window_rows = (l.rows - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h + 1;
  l.window_columns = (p.out.w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
  l.step_at = align64(2 * sizeof(WideScale) + static_cast<std::size_t>(l.chunks) * 4);
  l.weight_at = align64(l.step_at + static_cast<std::size_t>(l.steps) * 4);
  l.block_bytes = l.weight_at + static_cast<std::size_t>(l.steps) * kStepBytes;
  return l;
}

Plan plan_conv16(const Conv16Params& p) {
  const Layout16 l = lay_out16(p);
  const std::size_t window = std::size_t(l.window_rows) * std::size_t(l.window_columns) * std::size_t(p.in.c) * 2;
  return {l.block_bytes * static_cast<std::size_t>(l.blocks) * static_cast<std::size_t>(p.groups),
          l.direct ? 0 : align64(window + kSlack), p.out.n * l.row_units};
}

bool accepts_conv16(const Conv16Params& p) {
  return p.rq.out.wide && p.in.sc == 2 && p.out.sc == 2 && all_fit_lanes(p.rq.entries, p.out.c);
}

struct Packed16 {
  const WideScale* scales;      // 2
  const std::int32_t* ends;     // of chunks; behind the last one that is used: steps
  const std::int32_t* offsets;  // of steps, in bytes from the pixel
  const std::uint8_t* weights;
};

OPENBPU_INLINE Packed16 packed_block(const Layout16& l, const std::uint8_t* packed, std::int32_t block) {
  const std::uint8_t* at = packed + static_cast<std::size_t>(block) * l.block_bytes;
  return {reinterpret_cast<const WideScale*>(at), reinterpret_cast<const std::int32_t*>(at + 2 * sizeof(WideScale)),
          reinterpret_cast<const std::int32_t*>(at + l.step_at), at + l.weight_at};
}

OPENBPU_INLINE void pack_block16(const Conv16Params& p, const Layout16& l, std::int32_t block, std::uint8_t* at) {
  auto* scales = reinterpret_cast<WideScale*>(at);
  auto* ends = reinterpret_cast<std::int32_t*>(at + 2 * sizeof(WideScale));
  auto* offsets = reinterpret_cast<std::int32_t*>(at + l.step_at);
  const CanonicalWeights weights{p.weights, l.co, l.taps, l.ci};
  const std::int32_t group = block / l.blocks, first = block % l.blocks * kBlock16;
  const std::int32_t row = l.direct ? 0 : l.window_columns * p.in.c * 2;
  std::int32_t reach[kBlock16] = {}, chunk = 0;
  for (std::int32_t i = 0; i < kBlock16; ++i)
    set_lane(scales[i / Wide::kWords], i % Wide::kWords,
             first + i < l.co ? p.rq.entries[group * l.co + first + i] : Rq16Entry{0, 1, 1, {}});
  for (std::int32_t step = 0; step < l.steps; ++step) {
    const std::int32_t tap = step / l.pairs, input = step % l.pairs * 2;
    offsets[step] = tap / p.kernel_w * p.dilation_h * row + tap % p.kernel_w * p.dilation_w * p.in.c * 2 + input * 2;
    std::int16_t cell[kBlock16][2];
    bool full = false;
    for (std::int32_t i = 0; i < kBlock16; ++i) {
      for (std::int32_t k = 0; k < 2; ++k)
        cell[i][k] =
            first + i < l.co && input + k < l.ci ? weights.at(group, first + i, tap, input + k) : std::int8_t{0};
      const std::int32_t more =
          (cell[i][0] < 0 ? -cell[i][0] : cell[i][0]) + (cell[i][1] < 0 ? -cell[i][1] : cell[i][1]);
      full = full || reach[i] + more > 65535;
    }
    if (full) ends[chunk++] = step;
    for (std::int32_t i = 0; i < kBlock16; ++i) {
      const std::int32_t more =
          (cell[i][0] < 0 ? -cell[i][0] : cell[i][0]) + (cell[i][1] < 0 ? -cell[i][1] : cell[i][1]);
      reach[i] = full ? more : reach[i] + more;
    }
    __builtin_memcpy(at + l.weight_at + static_cast<std::size_t>(step) * kStepBytes, cell, kStepBytes);
  }
  while (chunk < l.chunks) ends[chunk++] = l.steps;
}

void pack_conv16(const Conv16Params& p, std::uint8_t* packed) {
  const Layout16 l = lay_out16(p);
  for (std::int32_t block = 0; block < p.groups * l.blocks; ++block)
    pack_block16(p, l, block, packed + static_cast<std::size_t>(block) * l.block_bytes);
}

// Sums of 4 pixels by 2 registers over steps [begin, end).
struct Sums16 {
  Wide::R a0, a1, b0, b1, c0, c1, d0, d1;
};

OPENBPU_INLINE Sums16 sums16(const Packed16& k, const std::uint8_t* const* in, std::int32_t begin, std::int32_t end) {
  const std::uint8_t *pa = in[0], *pb = in[1], *pc = in[2], *pd = in[3];
  Wide::R a0 = Wide::zero(), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  const std::uint8_t* w = k.weights + static_cast<std::size_t>(begin) * kStepBytes;
  for (std::int32_t step = begin; step < end; ++step, w += kStepBytes) {
    const std::int32_t at = k.offsets[step];
    const Wide::R w0 = Wide::load(w), w1 = Wide::load(w + kStepBytes / 2);
    Wide::R x = Wide::broadcast_pair(pa + at);
    a0 = Wide::dot(a0, x, w0);
    a1 = Wide::dot(a1, x, w1);
    x = Wide::broadcast_pair(pb + at);
    b0 = Wide::dot(b0, x, w0);
    b1 = Wide::dot(b1, x, w1);
    x = Wide::broadcast_pair(pc + at);
    c0 = Wide::dot(c0, x, w0);
    c1 = Wide::dot(c1, x, w1);
    x = Wide::broadcast_pair(pd + at);
    d0 = Wide::dot(d0, x, w0);
    d1 = Wide::dot(d1, x, w1);
  }
  return {a0, a1, b0, b1, c0, c1, d0, d1};
}

OPENBPU_INLINE void store_sums16(const Sums16& s, std::int32_t* to) {
  const Wide::R all[8] = {s.a0, s.a1, s.b0, s.b1, s.c0, s.c1, s.d0, s.d1};
#pragma GCC unroll 8
  for (std::int32_t i = 0; i < 8; ++i) Wide::store32(to + i * Wide::kWords, all[i]);
}

OPENBPU_INLINE void store_pixel16(Wide::R r0, Wide::R r1, const Packed16& k, const WideClamp& clamp, std::uint8_t* out,
                                  std::int32_t channels) {
  store_first16(out, scaled(r0, k.scales[0], clamp), channels);
  if (channels > Wide::kWords)
    store_first16(out + 2 * Wide::kWords, scaled(r1, k.scales[1], clamp), channels - Wide::kWords);
}

// Several chunks: sums of 64 bits, scaled one by one. There are thousands of products for each of them.
OPENBPU_INLINE void run_long_tile16(const Conv16Params& p, const Layout16& l, const Packed16& k,
                                    const Rq16Entry* entries, const std::uint8_t* const* in, std::uint8_t* const* out,
                                    std::int32_t pixels, std::int32_t channels) {
  std::int64_t total[kTile16 * kBlock16] = {};
  alignas(64) std::int32_t part[kTile16 * kBlock16];
  for (std::int32_t chunk = 0, begin = 0; begin < l.steps; ++chunk) {
    const std::int32_t end = chunk < l.chunks ? k.ends[chunk] : l.steps;
    store_sums16(sums16(k, in, begin, end), part);
    for (std::int32_t i = 0; i < kTile16 * kBlock16; ++i) total[i] += part[i];
    begin = end;
  }
  for (std::int32_t x = 0; x < pixels; ++x)
    for (std::int32_t c = 0; c < channels; ++c) {
      const std::int64_t y = (total[x * kBlock16 + c] * entries[c].m + entries[c].bias) >> entries[c].sh;
      const auto value = static_cast<std::int16_t>(max64(p.rq.lo, min64(y, p.rq.hi)));
      __builtin_memcpy(out[x] + 2 * c, &value, 2);
    }
}

OPENBPU_INLINE void run_tile16(const Packed16& k, const WideClamp& clamp, std::int32_t steps,
                               const std::uint8_t* const* in, std::uint8_t* const* out, std::int32_t pixels,
                               std::int32_t channels) {
  const Sums16 s = sums16(k, in, 0, steps);
  store_pixel16(s.a0, s.a1, k, clamp, out[0], channels);
  if (pixels > 1) store_pixel16(s.b0, s.b1, k, clamp, out[1], channels);
  if (pixels > 2) store_pixel16(s.c0, s.c1, k, clamp, out[2], channels);
  if (pixels > 3) store_pixel16(s.d0, s.d1, k, clamp, out[3], channels);
}

// Output pixels of a unit: row y of `rows`, column x.
struct Pixels16 {
  const std::uint8_t* in;
  std::int64_t in_row, in_pixel;
  std::uint8_t* out;
  std::int64_t out_row, out_pixel;
  std::int32_t rows, columns;
};

OPENBPU_INLINE void run_block16(const Conv16Params& p, const Layout16& l, const std::uint8_t* packed,
                                std::int32_t block, const Pixels16& at) {
  const Packed16 k = packed_block(l, packed, block);
  const WideClamp clamp(p.rq);
  const std::int32_t group = block / l.blocks, first = block % l.blocks * kBlock16;
  const std::int32_t channel = group * l.co + first, channels = min(kBlock16, l.co - first);
  const bool one_chunk = k.ends[0] == l.steps;
  const std::int32_t all = at.rows * at.columns;
  for (std::int32_t pixel = 0; pixel < all; pixel += kTile16) {
    const std::int32_t pixels = min(kTile16, all - pixel);
    const std::uint8_t* in[kTile16];
    std::uint8_t* out[kTile16];
    for (std::int32_t i = 0; i < kTile16; ++i) {  // those that are not there repeat the last one
      const std::int32_t j = pixel + min(i, pixels - 1), y = j / at.columns, x = j % at.columns;
      in[i] = at.in + y * at.in_row + x * at.in_pixel + group * l.ci * 2;
      out[i] = at.out + y * at.out_row + x * at.out_pixel + channel * 2;
    }
    if (one_chunk)
      run_tile16(k, clamp, l.steps, in, out, pixels, channels);
    else
      run_long_tile16(p, l, k, p.rq.entries + channel, in, out, pixels, channels);
  }
}

void run_conv16(const Conv16Params& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
                std::int32_t end) {
  const Layout16 l = lay_out16(p);
  View bytes = p.in;  // pixels of 2 * c bytes
  bytes.c = 2 * p.in.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / l.row_units, oy = unit % l.row_units * l.rows, iy = oy * p.stride_h - p.pad_top;
    Pixels16 at{};
    at.out = p.out.data + n * p.out.sn + oy * p.out.sh;
    at.out_row = p.out.sh;
    at.out_pixel = p.out.sw;
    at.rows = min(l.rows, p.out.h - oy);
    at.columns = p.out.w;
    if (l.direct) {
      at.in = p.in.data + n * p.in.sn + iy * p.in.sh - p.pad_left * p.in.sw;
      at.in_row = p.stride_h * p.in.sh;
      at.in_pixel = p.stride_w * p.in.sw;
    } else {
      copy_padded(bytes, n, {iy, 1, l.window_rows, -p.pad_left, l.window_columns}, 0, scratch);
      at.in = scratch;
      at.in_pixel = std::int64_t{p.stride_w} * bytes.c;
      at.in_row = std::int64_t{p.stride_h} * l.window_columns * bytes.c;
    }
    for (std::int32_t block = 0; block < p.groups * l.blocks; ++block) run_block16(p, l, packed, block, at);
  }
}

}  // namespace
}  // namespace openbpu::kernels
