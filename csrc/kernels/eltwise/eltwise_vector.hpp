// ADD, SUB, MUL, MAX and MIN on one vector register after another; included by the file of each ISA, which supplies
// Vec.
//
// Bytes hold value + kOffset. ADD: a * ma + b * mb + C', with C' = C - kOffset * (ma + mb). MUL: |p * m| < 2^31
// (docs/numerics.md), and the rounding shift is split, (v + 2^(sh-1)) >> sh = ((v >> (sh-1)) + 1) >> 1, so that
// everything stays in int32.
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
  for_each_part(p, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t first, std::int32_t count) {
    const std::int32_t pixels = dense ? 1 : count, run = dense ? count * p.out.c : p.out.c;
    const std::uint8_t* from = a.data + n * a.sn + y * a.sh + first * a.sw;
    const std::uint8_t* other = b.data + n * bn + y * bh + first * bw;
    std::uint8_t* to = p.out.data + n * p.out.sn + y * p.out.sh + first * p.out.sw;
    for (std::int32_t x = 0; x < pixels; ++x) op(from + x * a.sw, other + x * bw, bc, to + x * p.out.sw, run);
  });
}

OPENBPU_INLINE Vec::R load_operand(const std::uint8_t* b, std::int32_t step, std::int32_t at, std::int32_t n) {
  return step ? load_run(b + at, n - at) : Vec::set8(*b);
}

OPENBPU_INLINE Vec::R narrow(Vec::R a, Vec::R b, Vec::R c, Vec::R d) {
  return Vec::narrow16(Vec::narrow32(a, b), Vec::narrow32(c, d));
}

void run_add(const AddParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Factors factors = make_factors(p.ma, p.mb);
  const Vec::R constant = Vec::set32(p.C - Vec::kOffset * (p.ma + p.mb));
  const ByteClamp clamp(p.lo, p.hi);
  const auto shifted = [&](Vec::R v) { return Vec::shift_right32(v, p.sh); };
  for_each_pair(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Vec::kBytes) {
          const Words w = weigh(load_run(a + i, n - i), load_operand(b, step, i, n), factors, constant);
          const Vec::R y = narrow(shifted(w.r0), shifted(w.r1), shifted(w.r2), shifted(w.r3));
          store_run(out + i, ByteClamp::apply_to(clamp, y), n - i);
        }
      });
}

void run_mul(const MulParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Vec::R a_zero = Vec::set16(p.a_zero + Vec::kOffset), b_zero = Vec::set16(p.b_zero + Vec::kOffset);
  const Vec::R m = Vec::set32(p.m), unit = Vec::set32(1), zero_point = Vec::set32(p.zero);
  const std::int32_t first = p.sh - 1 < 31 ? p.sh - 1 : 31;  // beyond 31 only the sign is left
  const ByteClamp clamp(p.lo, p.hi);
  const auto scaled = [&](Vec::R product) {
    const Vec::R v = Vec::shift_right32(Vec::mul32(product, m), first);
    return Vec::add32(Vec::shift_right32(Vec::add32(v, unit), 1), zero_point);
  };
  for_each_pair(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Vec::kBytes) {
          const Words w = products(load_run(a + i, n - i), load_operand(b, step, i, n), a_zero, b_zero);
          const Vec::R y = narrow(scaled(w.r0), scaled(w.r1), scaled(w.r2), scaled(w.r3));
          store_run(out + i, ByteClamp::apply_to(clamp, y), n - i);
        }
      });
}

// Bytes as stored keep the order of the values: no arithmetic, only the clamp needs them signed.
void run_extreme(const ExtremeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const ByteClamp clamp(p.lo, p.hi);
  for_each_pair(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Vec::kBytes) {
          const Vec::R x = to_signed(load_run(a + i, n - i)), y = to_signed(load_operand(b, step, i, n));
          store_run(out + i, ByteClamp::apply_to(clamp, p.largest ? Vec::max8(x, y) : Vec::min8(x, y)), n - i);
        }
      });
}

}  // namespace
}  // namespace openbpu::kernels
