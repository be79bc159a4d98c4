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
  const std::int32_t pixels = dense ? 1 : p.out.w, run = dense ? p.out.w * p.out.c : p.out.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* from = in.data + n * in.sn + y * in.sh;
    std::uint8_t* to = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = 0; x < pixels; ++x) op(from + x * in.sw, to + x * p.out.sw, run);
  }
}

}  // namespace
}  // namespace openbpu::kernels
