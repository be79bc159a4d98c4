// RESIZE_BILIN of int16; included by the file of each ISA, which supplies Wide.
//
// A weight of a column has 21 bits: w = 2^10 * high + low, and both pixels of a row are a pair for each part. The sums
// of two rows, a of the high parts and b of the low ones, meet the weights of the rows in 64 bits: (2^10 * a0 + b0) *
// w0 + (2^10 * a1 + b1) * w1.
#pragma once

#include "kernels/resize/resize_rows.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

bool accepts_bilinear16(const ResizeBilinear16Params& p) { return p.in.sc == 2 && p.out.sc == 2; }

// One unit is one row of one image.
Plan plan_bilinear16(const ResizeBilinear16Params& p) { return {0, 0, p.out.n * p.out.h}; }

OPENBPU_INLINE Wide::R weights16(std::uint32_t first, std::uint32_t second) {
  return Wide::set(static_cast<std::int32_t>(first | second << 16));
}

void run_bilinear16(const ResizeBilinear16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin,
                    std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const Resize16Tap& row = p.rows[y];
    const std::uint8_t* top = p.in.data + n * p.in.sn + row.i0 * p.in.sh;
    const std::uint8_t* bottom = p.in.data + n * p.in.sn + row.i1 * p.in.sh;
    const WideScale first = uniform_scale({std::int64_t{1} << 39, static_cast<std::int32_t>(row.w0), 40, {}});
    const WideScale second = uniform_scale({0, static_cast<std::int32_t>(row.w1), 40, {}});
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const Resize16Tap& column = p.columns[x];
      const std::int64_t left = column.i0 * p.in.sw, right = column.i1 * p.in.sw;
      const Wide::R high = weights16(column.w0 >> 10, column.w1 >> 10);
      const Wide::R low = weights16(column.w0 & 1023, column.w1 & 1023);
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t c = 0; c < p.out.c; c += Wide::kWords) {
        const auto pair_of = [&](const std::uint8_t* line) {
          return Wide::pairs(load_first16(line + left + 2 * c, p.out.c - c),
                             load_first16(line + right + 2 * c, p.out.c - c));
        };
        const Wide::R v0 = pair_of(top), v1 = pair_of(bottom);
        const Wide::R a0 = Wide::dot(Wide::zero(), v0, high), b0 = Wide::dot(Wide::zero(), v0, low);
        const Wide::R a1 = Wide::dot(Wide::zero(), v1, high), b1 = Wide::dot(Wide::zero(), v1, low);
        const Wide::R even =
            Wide::scale_four_halves<10>(a0, b0, first.m[0], a1, b1, second.m[0], first.bias[0], first.sh[0]);
        const Wide::R odd =
            Wide::scale_four_halves<10>(Wide::second_half(a0), Wide::second_half(b0), first.m[1], Wide::second_half(a1),
                                        Wide::second_half(b1), second.m[1], first.bias[1], first.sh[1]);
        store_first16(out + 2 * c, Wide::join_halves(even, odd), p.out.c - c);
      }
    }
  }
}

}  // namespace
}  // namespace openbpu::kernels
