// Walks element-wise operators as runs of contiguous bytes: whole rows where pixels lie dense, else pixel by pixel.
// Needs Vec of x86/vec256.hpp, x86/vec512.hpp or arm/vec128.hpp.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {
namespace {

// One unit is one row of one image.
template <class Params>
Plan plan_rows(const Params& p) {
  return {0, 0, p.out.n * p.out.h};
}

// Work that looks at whole pixels: a unit is up to kUnitPixels of one row.
constexpr std::int32_t kUnitPixels = 4;

template <class Params>
OPENBPU_INLINE std::int32_t pixel_units(const Params& p) {
  return p.out.n * p.out.h * ceil_div(p.out.w, kUnitPixels);
}

// Calls op(in, out) for each pixel of units [begin, end).
template <class Params, class Op>
OPENBPU_INLINE void for_each_pixel(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const std::int32_t per_row = ceil_div(p.out.w, kUnitPixels);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t row = unit / per_row, first = unit % per_row * kUnitPixels;
    const std::int32_t n = row / p.out.h, y = row % p.out.h;
    const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh;
    std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = first; x < min(first + kUnitPixels, p.out.w); ++x) op(in + x * p.in.sw, out + x * p.out.sw);
  }
}

// Element-wise work: a unit is one row of one image, or, of a single long row, a part of about kPartBytes.
constexpr std::int32_t kPartBytes = 2048;

template <class Params>
OPENBPU_INLINE std::int32_t row_parts(const Params& p) {
  if (p.out.n * p.out.h > 1) return 1;
  return max(1, min(p.out.w, static_cast<std::int32_t>(std::int64_t{p.out.w} * p.out.c / kPartBytes)));
}

template <class Params>
Plan plan_parts(const Params& p) {
  return {0, 0, p.out.n * p.out.h * row_parts(p)};
}

// Calls op(n, y, first, count) for the pixels of each unit of [begin, end).
template <class Params, class Op>
OPENBPU_INLINE void for_each_part(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const std::int32_t parts = row_parts(p);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t row = unit / parts, part = unit % parts;
    const auto start = [&](std::int32_t k) { return static_cast<std::int32_t>(std::int64_t{p.out.w} * k / parts); };
    op(row / p.out.h, row % p.out.h, start(part), start(part + 1) - start(part));
  }
}

template <class Params>
bool stored_for_vec(const Params& p) {
  return p.flip == Vec::kFlip;
}

// The vector at `in` of which n bytes, n > 0, belong to the run. No byte behind them is read: when operators follow one
// another unit by unit, another thread may be writing it.
OPENBPU_INLINE Vec::R load_run(const std::uint8_t* in, std::int32_t n) {
  return n >= Vec::kBytes ? Vec::load(in) : Vec::load_first(in, n);
}

// Stores the first n bytes of v, n > 0.
OPENBPU_INLINE void store_run(std::uint8_t* out, Vec::R v, std::int32_t n) {
  if (n >= Vec::kBytes)
    Vec::store(out, v);
  else
    Vec::store_first(out, v, n);
}

// Bytes of value + 128, or of the value, as stored.
OPENBPU_INLINE Vec::R from_unsigned(Vec::R v) {
  if constexpr (Vec::kFlip == 0x80) return v;
  return Vec::xor_(v, Vec::set8(-128));
}
OPENBPU_INLINE Vec::R to_signed(Vec::R v) {
  if constexpr (Vec::kFlip == 0) return v;
  return Vec::xor_(v, Vec::set8(-128));
}
OPENBPU_INLINE Vec::R from_signed(Vec::R v) {
  if constexpr (Vec::kFlip == 0) return v;
  return Vec::xor_(v, Vec::set8(-128));
}

// Clamped int8 values as stored.
struct ByteClamp {
  Vec::R lo, hi;
  ByteClamp(std::int32_t low, std::int32_t high) : lo(Vec::set8(low)), hi(Vec::set8(high)) {}
  OPENBPU_INLINE Vec::R apply_to(const ByteClamp& c, Vec::R v) {
    return from_signed(Vec::min8(Vec::max8(v, c.lo), c.hi));
  }
};

// Calls op(in, out, n) for each run of units [begin, end).
template <class Params, class Op>
OPENBPU_INLINE void for_each_run(const Params& p, const View& in, std::int32_t begin, std::int32_t end, Op op) {
  const bool dense = in.sw == in.c && p.out.sw == p.out.c;
  for_each_part(p, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t first, std::int32_t count) {
    const std::int32_t pixels = dense ? 1 : count, run = dense ? count * p.out.c : p.out.c;
    const std::uint8_t* from = in.data + n * in.sn + y * in.sh + first * in.sw;
    std::uint8_t* to = p.out.data + n * p.out.sn + y * p.out.sh + first * p.out.sw;
    for (std::int32_t x = 0; x < pixels; ++x) op(from + x * in.sw, to + x * p.out.sw, run);
  });
}

}  // namespace
}  // namespace openbpu::kernels
