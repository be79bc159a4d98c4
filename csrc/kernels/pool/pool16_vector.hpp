// MAXPOOL and AVGPOOL of int16: a register of channels of one pixel after the other; included by the file of each ISA,
// which supplies Wide.
#pragma once

#include "kernels/pool/pool_rows.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

constexpr std::int32_t kMostTaps16 = 65535;  // whose sum fits an int32

// One unit is one row of one image.
template <class Params>
Plan plan_pool16(const Params& p) {
  return {0, 0, p.out.n * p.out.h};
}

bool accepts_maxpool16(const MaxPool16Params& p) { return p.in.sc == 2 && p.out.sc == 2; }
bool accepts_avgpool16(const AvgPool16Params& p) {
  return p.rq.out.wide && p.in.sc == 2 && p.out.sc == 2 &&
         std::int64_t{p.window.kernel_h} * p.window.kernel_w <= kMostTaps16 &&
         all_fit_lanes(p.rq.entries, p.entry_count);
}

// Taps [first, last) of an axis, those inside the input.
struct Taps16 {
  std::int32_t first, last;
};
OPENBPU_INLINE Taps16 taps16(std::int32_t start, std::int32_t kernel, std::int32_t dilation, std::int32_t extent) {
  const std::int32_t first = start < 0 ? ceil_div(-start, dilation) : 0;
  const std::int32_t last = start < extent ? min(kernel, ceil_div(extent - start, dilation)) : 0;
  return {min(first, last), last};
}

// Calls op(out, taps, fold) for each pixel: fold(begin, c, n, join) joins the registers of channels from c on of all
// taps.
template <class Params, class Op>
OPENBPU_INLINE void for_each_window16(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const PoolGeometry& g = p.window;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, oy = unit % p.out.h, top = oy * g.stride_h - g.pad_top;
    const Taps16 rows = taps16(top, g.kernel_h, g.dilation_h, p.in.h);
    for (std::int32_t ox = 0; ox < p.out.w; ++ox) {
      const std::int32_t left = ox * g.stride_w - g.pad_left;
      const Taps16 columns = taps16(left, g.kernel_w, g.dilation_w, p.in.w);
      const auto fold = [&](Wide::R value, std::int32_t c, auto join) {
        for (std::int32_t ky = rows.first; ky < rows.last; ++ky) {
          const std::uint8_t* row = p.in.data + n * p.in.sn + (top + ky * g.dilation_h) * p.in.sh + 2 * c;
          for (std::int32_t kx = columns.first; kx < columns.last; ++kx)
            value = join(value, load_first16(row + (left + kx * g.dilation_w) * p.in.sw, p.in.c - c));
        }
        return value;
      };
      op(p.out.data + n * p.out.sn + oy * p.out.sh + ox * p.out.sw,
         (rows.last - rows.first) * (columns.last - columns.first), fold);
    }
  }
}

void run_maxpool16(const MaxPool16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_window16(p, begin, end, [&](std::uint8_t* out, std::int32_t, auto fold) {
    for (std::int32_t c = 0; c < p.out.c; c += Wide::kWords)
      store_first16(out + 2 * c, fold(Wide::set(-32768), c, Wide::maximum), p.out.c - c);
  });
}

void run_avgpool16(const AvgPool16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const WideClamp clamp(p.rq);
  for_each_window16(p, begin, end, [&](std::uint8_t* out, std::int32_t taps, auto fold) {
    const WideScale scale = uniform_scale(p.rq.entries[p.entry_count == 1 || taps == 0 ? 0 : taps - 1]);
    for (std::int32_t c = 0; c < p.out.c; c += Wide::kWords)
      store_first16(out + 2 * c, scaled(fold(Wide::zero(), c, Wide::add), scale, clamp), p.out.c - c);
  });
}

}  // namespace
}  // namespace openbpu::kernels
