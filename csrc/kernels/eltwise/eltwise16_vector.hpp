// ADD, SUB and MUL of int16; included by the file of each ISA, which supplies Wide.
#pragma once

#include "kernels/eltwise/eltwise_rows.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

// One unit is one row of one image.
template <class Params>
Plan plan_rows16(const Params& p) {
  return {0, 0, p.out.n * p.out.h};
}

// Calls op(a, b, step, out, n) for runs of n elements: b advances by `step` bytes, 2, or 0 where one element repeats.
template <class Params, class Op>
OPENBPU_INLINE void for_each_pair16(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const View &a = p.a, &b = p.b;
  const auto step = [](std::int32_t extent, std::int64_t stride) { return extent > 1 ? stride : 0; };
  const std::int64_t bn = step(b.n, b.sn), bh = step(b.h, b.sh), bw = step(b.w, b.sw);
  const std::int32_t bc = b.c > 1 || p.out.c == 1 ? 2 : 0;
  const bool same = b.w == p.out.w && b.c == p.out.c && b.sw == 2 * b.c, one = b.w == 1 && b.c == 1;
  const bool dense = a.sw == 2 * a.c && p.out.sw == 2 * p.out.c && (same || (one && bc == 0));
  const std::int32_t pixels = dense ? 1 : p.out.w, run = dense ? p.out.w * p.out.c : p.out.c;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    const std::uint8_t* from = a.data + n * a.sn + y * a.sh;
    const std::uint8_t* other = b.data + n * bn + y * bh;
    std::uint8_t* to = p.out.data + n * p.out.sn + y * p.out.sh;
    for (std::int32_t x = 0; x < pixels; ++x) op(from + x * a.sw, other + x * bw, bc, to + x * p.out.sw, run);
  }
}

OPENBPU_INLINE Wide::R load_operand16(const std::uint8_t* b, std::int32_t step, std::int32_t at, std::int32_t n) {
  if (step) return load_first16(b + 2 * at, n);
  std::int16_t value;
  __builtin_memcpy(&value, b, sizeof value);
  return Wide::set(value);
}

// v = a * ma + b * mb + bias in two halves of 15 bits, so that nothing leaves 32 bits: with m = 2^15 h + l,
// v >> 15 = a * ha + b * hb + bias / 2^15 + ((a * la + b * lb + bias % 2^15) >> 15), whose magnitude is below 2^31 for
// a bias of less than 2^sh (docs/numerics.md). Pairs of halves lie in one register, as those of activations do.
struct SumFactors {
  Wide::R high, low, bias_high, bias_low;
  std::int32_t shift;

  explicit SumFactors(const Add16Params& p) {
    const std::int32_t sign = p.mb < 0 ? -1 : 1, mb = sign * p.mb;
    high = Wide::set(pair(p.ma >> 15, sign * (mb >> 15)));
    low = Wide::set(pair(p.ma & 32767, sign * (mb & 32767)));
    bias_high = Wide::set(static_cast<std::int32_t>(p.rq.entries->bias >> 15));
    bias_low = Wide::set(static_cast<std::int32_t>(p.rq.entries->bias & 32767));
    shift = p.rq.entries->sh - 15;
  }
  static std::int32_t pair(std::int32_t first, std::int32_t second) {
    return static_cast<std::int32_t>((static_cast<std::uint32_t>(first) & 0xffff) | static_cast<std::uint32_t>(second)
                                                                                        << 16);
  }
};

bool accepts_add16(const Add16Params& p) {
  const Rq16Entry& e = *p.rq.entries;
  return p.rq.out.wide && e.bias >= 0 && e.bias < std::int64_t{1} << e.sh;
}

void run_add16(const Add16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const SumFactors f(p);
  const WideClamp clamp(p.rq);
  for_each_pair16(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Wide::kWords) {
          const Wide::R x = Wide::pairs(load_first16(a + 2 * i, n - i), load_operand16(b, step, i, n - i));
          const Wide::R low = Wide::shift_right(Wide::dot(f.bias_low, x, f.low), 15);
          const Wide::R sum = Wide::dot(Wide::add(f.bias_high, low), x, f.high);
          store_first16(out + 2 * i, Wide::clamp(Wide::shift_right(sum, f.shift), clamp.lo, clamp.hi), n - i);
        }
      });
}

bool accepts_mul16(const Mul16Params& p) { return p.rq.out.wide && fits_lanes(*p.rq.entries, 30); }

void run_mul16(const Mul16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const WideScale scale = uniform_scale(*p.rq.entries);
  const WideClamp clamp(p.rq);
  for_each_pair16(
      p, begin, end,
      [&](const std::uint8_t* a, const std::uint8_t* b, std::int32_t step, std::uint8_t* out, std::int32_t n) {
        for (std::int32_t i = 0; i < n; i += Wide::kWords) {
          const Wide::R product = Wide::multiply(load_first16(a + 2 * i, n - i), load_operand16(b, step, i, n - i));
          store_first16(out + 2 * i, scaled(product, scale, clamp), n - i);
        }
      });
}

}  // namespace
}  // namespace openbpu::kernels
