// LAYERNORM and RMSNORM of int16: sums of a row, its two factors, then two multiplications of 32 by 32 bits; included
// by the file of each ISA, which supplies Wide.
#pragma once

#include "kernels/norm/norm_factors.hpp"
#include "kernels/norm/norm_rows.hpp"
#include "kernels/wide_scale.hpp"

namespace openbpu::kernels {
namespace {

// Results fit 32 bits before they are clamped; |z| < 2^30.
bool accepts_norm16(const Norm16Params& p) {
  const auto magnitude = [](std::int64_t v) { return static_cast<std::uint64_t>(v < 0 ? -v : v); };
  for (std::int32_t c = 0; c < p.in.c; ++c)
    if (((magnitude(p.g[c]) << 30) + magnitude(p.b[c])) >> p.sh >= std::uint64_t{1} << 31) return false;
  return true;
}

// One unit is one row of one image.
Plan plan_norm16(const Norm16Params& p) {
  return {static_cast<std::size_t>(ceil_div(p.in.c, Wide::kWords)) * sizeof(WideScale), 0, p.out.n * p.out.h};
}

// Gain and offset of each register of channels.
[[gnu::cold]] void pack_norm16(const Norm16Params& p, std::uint8_t* packed) {
  auto* scales = reinterpret_cast<WideScale*>(packed);
  for (std::int32_t first = 0; first < p.in.c; first += Wide::kWords, ++scales)
    for (std::int32_t i = 0; i < Wide::kWords; ++i) {
      const std::int32_t c = min(first + i, p.in.c - 1);
      set_lane(*scales, i, {p.b[c], p.g[c], static_cast<std::uint8_t>(p.sh), {}});
    }
}

// Sums of n int16 and of their squares. Squares are added up in halves of 16 bits: n of them fit 32 bits.
OPENBPU_INLINE void sums_of(const std::uint8_t* in, std::int32_t n, std::int64_t& s1, std::int64_t& s2) {
  const Wide::R ones = Wide::set(0x10001);
  Wide::R sum = Wide::zero(), low = Wide::zero(), high = Wide::zero();
  const auto add = [&](const void* pairs) {
    const Wide::R x = Wide::load(pairs), squares = Wide::dot(Wide::zero(), x, x);
    sum = Wide::dot(sum, x, ones);
    low = Wide::add(low, Wide::low_part(squares));
    high = Wide::add(high, Wide::high_part(squares));
  };
  std::int32_t i = 0;
  for (; i + 2 * Wide::kWords <= n; i += 2 * Wide::kWords) add(in + 2 * i);
  if (i < n) {
    alignas(64) std::uint8_t rest[Wide::kWords * 4] = {};
    __builtin_memcpy(rest, in + 2 * i, static_cast<std::size_t>(n - i) * 2);
    add(rest);
  }
  alignas(64) std::int32_t parts[3][Wide::kWords];
  Wide::store32(parts[0], sum);
  Wide::store32(parts[1], low);
  Wide::store32(parts[2], high);
  s1 = s2 = 0;
  for (std::int32_t k = 0; k < Wide::kWords; ++k) {
    s1 += parts[0][k];
    s2 += parts[1][k] + (std::int64_t{parts[2][k]} << 16);
  }
}

void run_pixel16(const Norm16Params& p, const WideScale* scales, const std::uint8_t* in, std::uint8_t* out) {
  const std::int32_t n = p.in.c, size = p.stored.wide ? 2 : 1;
  std::int64_t s1, s2;
  sums_of(in, n, s1, s2);
  if (!p.centred) s1 = 0;
  const numerics::NormFactors f =
      factors_of(static_cast<std::uint64_t>(n * s2 - s1 * s1) + p.eps, s1, n, p.F, numerics::kNorm16);
  const WideScale row = uniform_scale({f.B, f.A, static_cast<std::uint8_t>(f.t), {}});
  const WideClamp clamp(p.lo, p.hi);
  for (std::int32_t i = 0; i < n; i += Wide::kWords, ++scales)
    store_elements(out + i * size, p.stored, scaled(unclamped(load_first16(in + 2 * i, n - i), row), *scales, clamp),
                   n - i);
}

void run_norm16(const Norm16Params& p, const std::uint8_t* packed, std::uint8_t*, std::int32_t begin,
                std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
      run_pixel16(p, reinterpret_cast<const WideScale*>(packed), p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw,
                  p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw);
    }
}

}  // namespace
}  // namespace openbpu::kernels
