// ADD, SUB and MUL on one vector register after another; included by the file of each ISA, which supplies Vec.
//
// Bytes hold value + 128. ADD: both operands as pairs of words, one multiply-add per pair: a * ma + b * mb + C', with
// C' = C - 128 * (ma + mb). MUL: |p * m| < 2^31 (docs/numerics.md), and the rounding shift is split,
// (v + 2^(sh-1)) >> sh = ((v >> (sh-1)) + 1) >> 1, so that everything stays in int32.
#pragma once

#include "kernels/eltwise/eltwise_rows.hpp"
#include "kernels/vector_runs.hpp"

namespace openbpu::kernels {
namespace {

// Calls op(a, b, b_step, out, n): b advances by b_step (1, or 0 for one byte that broadcasts).
template <class Params, class Op>
OPENBPU_INLINE void for_each_pair(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const View &a = p.a, &b = p.b;
  const auto step = [](std::int32_t extent, std::int64_t stride) { return extent > 1 ? stride : 0; };
  const std::int64_t bn = step(b.n, b.sn), bh = step(b.h, b.sh), bw = step(b.w, b.sw);
  const std::int32_t bc = b.c > 1 || p.out.c == 1 ? 1 : 0;
  const bool same = b.w == p.out.w && b.c == p.out.c && b.sw == b.c, one = b.w == 1 && b.c == 1;
  const bool dense = a.sw == a.c && p.out.sw == p.out.c && (same || (one && bc == 0));
  const std::int32_t pixels = dense ? 1 : p.out.w, run = dense ? p.out.w * p.out.c : p.out.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* from = a.data + n * a.sn + y * a.sh;
    const std::uint8_t* other = b.data + n * bn + y * bh;
    std::uint8_t* to = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = 0; x < pixels; ++x) op(from + x * a.sw, other + x * bw, bc, to + x * p.out.sw, run);
  }
}

OPENBPU_INLINE Vec::R load_operand(const std::uint8_t* b, std::int32_t step, std::int32_t at, std::int32_t n) {
  return step ? load_run(b + at, n - at) : Vec::set8(*b);
}

// Words of two byte vectors, interleaved: four registers of pairs (a, b) in the order that narrowing restores.
struct Pairs {
  Vec::R p0, p1, p2, p3;
};

OPENBPU_INLINE Pairs interleave(Vec::R a, Vec::R b) {
  const Vec::R zero = Vec::zero(), low = Vec::low8(a, b), high = Vec::high8(a, b);
  return {Vec::low8(low, zero), Vec::high8(low, zero), Vec::low8(high, zero), Vec::high8(high, zero)};
}

OPENBPU_INLINE Vec::R narrow(Vec::R a, Vec::R b, Vec::R c, Vec::R d) {
  return Vec::narrow16(Vec::narrow32(a, b), Vec::narrow32(c, d));
}

void run_add(const AddParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Vec::R factors =
      Vec::set32(static_cast<std::int32_t>(static_cast<std::uint32_t>(p.mb) << 16 | (p.ma & 0xFFFF)));
  const Vec::R constant = Vec::set32(p.C - 128 * (p.ma + p.mb));
  const ByteClamp clamp(p.lo, p.hi);
  const auto one = [&](Vec::R pair) {
    return Vec::shift_right32(Vec::add32(Vec::madd16(pair, factors), constant), p.sh);
  };
  for_each_pair(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Vec::kBytes) {
          const Pairs w = interleave(load_run(a + i, n - i), load_operand(b, step, i, n));
          const Vec::R y = narrow(one(w.p0), one(w.p1), one(w.p2), one(w.p3));
          store_run(out + i, ByteClamp::apply_to(clamp, y), n - i);
        }
      });
}

void run_mul(const MulParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Vec::R a_zero = Vec::set16(p.a_zero + 128), b_zero = Vec::set16(p.b_zero + 128);
  const Vec::R m = Vec::set32(p.m), unit = Vec::set32(1), zero_point = Vec::set32(p.zero), none = Vec::zero();
  const std::int32_t first = p.sh - 1 < 31 ? p.sh - 1 : 31;  // beyond 31 only the sign is left
  const ByteClamp clamp(p.lo, p.hi);
  // Words in the low half of each lane, so that a multiply-add gives single products.
  const auto product = [&](Vec::R a, Vec::R b) {
    const Vec::R v = Vec::shift_right32(Vec::mul32(Vec::madd16(a, b), m), first);
    return Vec::add32(Vec::shift_right32(Vec::add32(v, unit), 1), zero_point);
  };
  for_each_pair(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Vec::kBytes) {
          const Vec::R va = load_run(a + i, n - i), vb = load_operand(b, step, i, n);
          const Vec::R a0 = Vec::sub16(Vec::low8(va, none), a_zero), a1 = Vec::sub16(Vec::high8(va, none), a_zero);
          const Vec::R b0 = Vec::sub16(Vec::low8(vb, none), b_zero), b1 = Vec::sub16(Vec::high8(vb, none), b_zero);
          const Vec::R y = narrow(product(Vec::low16(a0, none), Vec::low16(b0, none)),
                                  product(Vec::high16(a0, none), Vec::high16(b0, none)),
                                  product(Vec::low16(a1, none), Vec::low16(b1, none)),
                                  product(Vec::high16(a1, none), Vec::high16(b1, none)));
          store_run(out + i, ByteClamp::apply_to(clamp, y), n - i);
        }
      });
}

}  // namespace
}  // namespace openbpu::kernels
