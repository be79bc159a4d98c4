// MAXPOOL and AVGPOOL, vectors of channels; included by the file of each ISA, which supplies Vec.
#pragma once

#include "kernels/pool/pool_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

// Taps of one output position that lie inside an axis: [first, last), with the input index of tap 0.
struct Reach {
  std::int32_t origin, first, last;
};

OPENBPU_INLINE Reach reach_of(std::int32_t o, std::int32_t stride, std::int32_t pad, std::int32_t dilation,
                              std::int32_t kernel, std::int32_t extent) {
  const std::int32_t origin = o * stride - pad;
  const std::int32_t first = origin < 0 ? ceil_div(-origin, dilation) : 0;
  const std::int32_t inside = origin < extent ? (extent - 1 - origin) / dilation + 1 : 0;
  return {origin, first, inside < kernel ? inside : kernel};
}

// Calls op(taps, address of the first tap inside, out) for each output pixel of units [begin, end).
struct Window {
  const std::uint8_t* start;
  std::int32_t rows, columns;
  std::int64_t row_step, column_step;
};

template <class Params, class Op>
OPENBPU_INLINE void for_each_window(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const PoolGeometry& g = p.window;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, oy = unit % p.out.h;
    const Reach y = reach_of(oy, g.stride_h, g.pad_top, g.dilation_h, g.kernel_h, p.in.h);
    for (std::int32_t ox = 0; ox < p.out.w; ++ox) {
      const Reach x = reach_of(ox, g.stride_w, g.pad_left, g.dilation_w, g.kernel_w, p.in.w);
      const Window window{p.in.data + n * p.in.sn + (y.origin + y.first * g.dilation_h) * p.in.sh +
                              (x.origin + x.first * g.dilation_w) * p.in.sw,
                          max(y.last - y.first, 0), max(x.last - x.first, 0), g.dilation_h * p.in.sh,
                          g.dilation_w * p.in.sw};
      op(window, p.out.data + n * p.out.sn + oy * p.out.sh + ox * p.out.sw);
    }
  }
}

void run_max(const MaxPoolParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_window(p, begin, end, [&](const Window& w, std::uint8_t* out) {
    for (std::int32_t c = 0; c < p.out.c; c += Vec::kBytes) {
      Vec::R best = Vec::set8(Vec::kOffset - 128);
      for (std::int32_t ky = 0; ky < w.rows; ++ky)
        for (std::int32_t kx = 0; kx < w.columns; ++kx)
          best = Vec::max_stored(best, Vec::load(w.start + ky * w.row_step + kx * w.column_step + c));
      store_run(out + c, best, p.out.c - c);
    }
  });
}

// Windows of at most 256 taps: |S * m| < 2^31, and the rounding shift is split as in eltwise_vector.hpp.
bool small_window(const AvgPoolParams& p) {
  return p.flip == Vec::kFlip && p.window.kernel_h * p.window.kernel_w <= 256;
}

void run_average(const AvgPoolParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Vec::R lo = Vec::set32(p.lo), hi = Vec::set32(p.hi), unit = Vec::set32(1), zero_point = Vec::set32(p.zero);
  const Vec::R offset = Vec::set32(Vec::kOffset);
  for_each_window(p, begin, end, [&](const Window& w, std::uint8_t* out) {
    const std::int32_t taps = w.rows * w.columns;
    const PoolScale& scale = p.scales[p.scale_count == 1 || taps == 0 ? 0 : taps - 1];
    const Vec::R m = Vec::set32(scale.m), start = Vec::set32(-taps * (p.in_zero + Vec::kOffset));
    const std::int32_t shift = static_cast<std::int32_t>(scale.sh) - 1, first = shift < 31 ? shift : 31;
    for (std::int32_t c = 0; c < p.out.c; c += Vec::kWords) {
      Vec::R sum = start;
      for (std::int32_t ky = 0; ky < w.rows; ++ky)
        for (std::int32_t kx = 0; kx < w.columns; ++kx)
          sum = Vec::add32(sum, Vec::widen(w.start + ky * w.row_step + kx * w.column_step + c));
      const Vec::R v = Vec::shift_right32(Vec::mul32(sum, m), first);
      Vec::R y = Vec::add32(Vec::shift_right32(Vec::add32(v, unit), 1), zero_point);
      y = Vec::add32(Vec::min32(Vec::max32(y, lo), hi), offset);
      const std::int32_t left = p.out.c - c;
      if (left >= Vec::kWords) {
        Vec::store_low_bytes(out + c, y);
      } else {
        std::uint8_t bytes[Vec::kWords];
        Vec::store_low_bytes(bytes, y);
        __builtin_memcpy(out + c, bytes, static_cast<std::size_t>(left));
      }
    }
  });
}

}  // namespace
}  // namespace openbpu::kernels
