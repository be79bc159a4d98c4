// CONV2D, GCONV2D and MATMUL of int16; included by the file of each ISA, which supplies Wide.
//
// A tile is 4 pixels by 2 registers of channels (blocks16.hpp). One tap without padding reads the tensor where it lies;
// else a unit copies the rows under its output rows.
#pragma once

#include "kernels/conv/blocks16.hpp"
#include "kernels/conv/conv_rows.hpp"
#include "kernels/padding.hpp"

namespace openbpu::kernels {
namespace {

struct Layout16 {
  Blocks16 blocks;
  bool direct;
  std::int32_t rows, row_units, window_rows, window_columns;
};

OPENBPU_INLINE Layout16 lay_out16(const Conv16Params& p) {
  Layout16 l{};
  l.blocks = blocks16(p.in.c / p.groups, p.out.c / p.groups, p.kernel_h * p.kernel_w);
  l.direct = l.blocks.taps == 1 && p.pad_top <= 0 && p.pad_left <= 0 &&
             (p.out.h - 1) * p.stride_h - p.pad_top < p.in.h && (p.out.w - 1) * p.stride_w - p.pad_left < p.in.w;
  l.rows = min(p.out.h, ceil_div(kUnitPixels16, p.out.w));
  l.row_units = ceil_div(p.out.h, l.rows);
  l.window_rows = (l.rows - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h + 1;
  l.window_columns = (p.out.w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
  return l;
}

Plan plan_conv16(const Conv16Params& p) {
  const Layout16 l = lay_out16(p);
  const std::size_t window = std::size_t(l.window_rows) * std::size_t(l.window_columns) * std::size_t(p.in.c) * 2;
  const std::size_t taps = static_cast<std::size_t>(l.blocks.taps) * 4;  // offsets, behind the blocks
  return {l.blocks.bytes * static_cast<std::size_t>(l.blocks.count) * static_cast<std::size_t>(p.groups) + taps,
          l.direct ? 0 : align64(window + kSlack), p.out.n * l.row_units};
}

bool accepts_conv16(const Conv16Params& p) {
  return p.rq.out.wide && p.in.sc == 2 && p.out.sc == 2 && all_fit_lanes(p.rq.entries, p.out.c);
}

[[gnu::cold]] void pack_conv16(const Conv16Params& p, std::uint8_t* packed) {
  const Layout16 l = lay_out16(p);
  const Blocks16& b = l.blocks;
  const std::int32_t all = p.groups * b.count, row = l.direct ? 0 : l.window_columns * p.in.c * 2;
  auto* offsets = reinterpret_cast<std::int32_t*>(packed + static_cast<std::size_t>(all) * b.bytes);
  for (std::int32_t tap = 0; tap < b.taps; ++tap)
    offsets[tap] = tap / p.kernel_w * p.dilation_h * row + tap % p.kernel_w * p.dilation_w * p.in.c * 2;
  for (std::int32_t block = 0; block < all; ++block)
    pack_block16(b, p.weights, p.rq.entries, block / b.count, block % b.count, offsets, packed_block(b, packed, block));
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
    run_blocks16(l.blocks, p.rq, p.groups, packed, 0, at);
  }
}

}  // namespace
}  // namespace openbpu::kernels
