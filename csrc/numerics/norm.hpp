// LAYERNORM and RMSNORM over one row (docs/numerics.md, clause NORM).
#pragma once

#include <cstdint>

#include "numerics/elementwise.hpp"

namespace openbpu::numerics {

// z = (A * x + B) >> t of a row.
struct NormFactors {
  std::int64_t B;
  std::int32_t A, t;
};

// How wide A and t may be.
struct NormWidth {
  std::int32_t bits, widest;  // A < 2^bits, t <= widest
};
constexpr NormWidth kNorm8{15, 15}, kNorm16{30, 31};

// floor(sqrt(v)), bit by bit: no floating point.
constexpr std::uint64_t isqrt(std::uint64_t v) {
  std::uint64_t root = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const std::uint64_t next = root | std::uint64_t{1} << bit;
    if (next * next <= v) root = next;
  }
  return root;
}

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }

// V = n * (sum of squares about the centre) + eps, 1 .. 2^63; s1 = n * centre.
constexpr NormFactors norm_factors(std::uint64_t V, std::int64_t s1, std::int32_t n, std::int32_t F, NormWidth width) {
  std::int32_t k = 0;
  for (; V < std::uint64_t{1} << 60; V <<= 2) ++k;
  const std::uint64_t inverse = (std::uint64_t{1} << 61) / isqrt(V), P = static_cast<std::uint64_t>(n) * inverse;
  std::int32_t t = width.widest < 60 - F - k ? width.widest : 60 - F - k;
  const auto rounded = [&] { return (P + (std::uint64_t{1} << (60 - F - k - t))) >> (61 - F - k - t); };
  const std::uint64_t most = (std::uint64_t{1} << width.bits) - 1;
  while (t > 0 && rounded() > most) --t;
  const auto A = static_cast<std::int64_t>(rounded() > most ? most : rounded());
  const std::int64_t half = t > 0 ? std::int64_t{1} << (t - 1) : 0,
                     centre = floor_div(2 * A * s1 + n, 2 * std::int64_t{n});
  return {half - centre, static_cast<std::int32_t>(A), t};
}

// s1, s2: sums of the values and of their squares.
constexpr NormFactors layernorm_factors(std::int64_t s1, std::int64_t s2, std::int32_t n, std::uint64_t eps,
                                        std::int32_t F, NormWidth width) {
  return norm_factors(static_cast<std::uint64_t>(n * s2 - s1 * s1) + eps, s1, n, F, width);
}

constexpr NormFactors rmsnorm_factors(std::int64_t s1, std::int64_t s2, std::int32_t n, std::int32_t in_zero,
                                      std::uint64_t eps, std::int32_t F, NormWidth width) {
  const std::int64_t about_zero = s2 - 2 * in_zero * s1 + std::int64_t{n} * in_zero * in_zero;
  return norm_factors(static_cast<std::uint64_t>(n * about_zero) + eps, std::int64_t{n} * in_zero, n, F, width);
}

constexpr std::int32_t norm(std::int32_t x, const NormFactors& f, std::int32_t g, std::int32_t b, std::int32_t sh,
                            std::int32_t lo, std::int32_t hi) {
  const std::int32_t z = clamp64((std::int64_t{f.A} * x + f.B) >> f.t, -32768, 32767);
  return clamp((z * g + b) >> sh, lo, hi);
}

// The 16-bit form: |z| < 2^30, |b| < 2^61.
constexpr std::int32_t norm16(std::int32_t x, const NormFactors& f, std::int32_t g, std::int64_t b, std::int32_t sh,
                              std::int32_t lo, std::int32_t hi) {
  const std::int64_t z = (std::int64_t{f.A} * x + f.B) >> f.t;
  return clamp64((z * g + b) >> sh, lo, hi);
}

}  // namespace openbpu::numerics
