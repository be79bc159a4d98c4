// TCONV2D of int16: an ordinary convolution per phase (tconv_ways.hpp), of which a tap that the phase does not see is
// no step. Included by the file of each ISA, which supplies Wide, beside the convolution with which it shares its
// blocks.
#pragma once

#include "kernels/conv/blocks16.hpp"
#include "kernels/padding.hpp"
#include "kernels/tconv/tconv_phases.hpp"
#include "kernels/tconv/tconv_rows.hpp"

namespace openbpu::kernels {
namespace {

struct Phases16 {
  Blocks16 blocks;
  Axis y, x;
  std::int32_t phases, columns, rows, row_units, window_rows, window_columns;  // rows and columns of q
};

OPENBPU_INLINE Phases16 lay_out16(const TConv16Params& p) {
  Phases16 l{};
  l.blocks = blocks16(p.in.c / p.groups, p.out.c / p.groups, p.kernel_h * p.kernel_w);
  l.y = make_axis(p.kernel_h, p.stride_h, p.dilation_h, p.pad_top);
  l.x = make_axis(p.kernel_w, p.stride_w, p.dilation_w, p.pad_left);
  l.phases = p.stride_h * p.stride_w;
  l.columns = ceil_div(p.out.w, p.stride_w);
  const std::int32_t all = ceil_div(p.out.h, p.stride_h);
  l.rows = min(all, ceil_div(kUnitPixels16, l.columns));
  l.row_units = ceil_div(all, l.rows);
  l.window_rows = l.rows + l.y.farthest - l.y.nearest;
  l.window_columns = l.columns + l.x.farthest - l.x.nearest;
  return l;
}

bool accepts_tconv16(const TConv16Params& p) {
  return p.rq.out.wide && p.in.sc == 2 && p.out.sc == 2 && all_fit_lanes(p.rq.entries, p.out.c);
}

Plan plan_tconv16(const TConv16Params& p) {
  const Phases16 l = lay_out16(p);
  const std::size_t window = std::size_t(l.window_rows) * std::size_t(l.window_columns) * std::size_t(p.in.c) * 2;
  const std::size_t blocks = static_cast<std::size_t>(l.phases * p.groups * l.blocks.count);
  return {l.blocks.bytes * blocks + static_cast<std::size_t>(l.blocks.taps) * 4, align64(window + kSlack),
          p.out.n * l.row_units};
}

[[gnu::cold]] void pack_tconv16(const TConv16Params& p, std::uint8_t* packed) {
  const Phases16 l = lay_out16(p);
  const Blocks16& b = l.blocks;
  const std::int32_t all = p.groups * b.count;
  auto* offsets = reinterpret_cast<std::int32_t*>(packed + static_cast<std::size_t>(l.phases * all) * b.bytes);
  for (std::int32_t phase = 0; phase < l.phases; ++phase) {
    const std::int32_t py = phase / p.stride_w, px = phase % p.stride_w;
    for (std::int32_t tap = 0; tap < b.taps; ++tap) {
      const std::int32_t ky = tap / p.kernel_w, kx = tap % p.kernel_w;
      offsets[tap] = -1;
      if (l.y.sees(py, ky) && l.x.sees(px, kx))
        offsets[tap] =
            ((l.y.distance(py, ky) - l.y.nearest) * l.window_columns + l.x.distance(px, kx) - l.x.nearest) * p.in.c * 2;
    }
    for (std::int32_t block = 0; block < all; ++block)
      pack_block16(b, p.weights, p.rq.entries, block / b.count, block % b.count, offsets,
                   packed_block(b, packed, phase * all + block));
  }
}

void run_tconv16(const TConv16Params& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
                 std::int32_t end) {
  const Phases16 l = lay_out16(p);
  View bytes = p.in;  // pixels of 2 * c bytes
  bytes.c = 2 * p.in.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / l.row_units, q = unit % l.row_units * l.rows;
    copy_padded(bytes, n, {q + l.y.nearest, 1, l.window_rows, l.x.nearest, l.window_columns}, 0, scratch);
    for (std::int32_t phase = 0; phase < l.phases; ++phase) {
      const std::int32_t oy = q * p.stride_h + phase / p.stride_w, ox = phase % p.stride_w;
      if (oy >= p.out.h || ox >= p.out.w) continue;
      Pixels16 at{};
      at.in = scratch;
      at.in_pixel = bytes.c;
      at.in_row = std::int64_t{l.window_columns} * bytes.c;
      at.out = p.out.data + n * p.out.sn + oy * p.out.sh + ox * p.out.sw;
      at.out_row = p.stride_h * p.out.sh;
      at.out_pixel = p.stride_w * p.out.sw;
      at.rows = min(l.rows, ceil_div(p.out.h - oy, p.stride_h));
      at.columns = ceil_div(p.out.w - ox, p.stride_w);
      run_blocks16(l.blocks, p.rq, p.groups, packed, phase * p.groups * l.blocks.count, at);
    }
  }
}

}  // namespace
}  // namespace openbpu::kernels
