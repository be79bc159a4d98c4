// LAYERNORM and RMSNORM over one row (docs/numerics.md, clause NORM).
#pragma once

#include <cstdint>

#include "numerics/elementwise.hpp"

namespace openbpu::numerics {

// z = (A * x + B) >> t of a row.
struct NormFactors {
  std::int32_t A, B, t;
};

// floor(sqrt(v)) for v < 2^62, bit by bit: no floating point.
constexpr std::uint64_t isqrt(std::uint64_t v) {
  std::uint64_t root = 0;
  for (int bit = 30; bit >= 0; --bit) {
    const std::uint64_t next = root | std::uint64_t{1} << bit;
    if (next * next <= v) root = next;
  }
  return root;
}

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }

// V = n * (sum of squares about the centre) + eps, 1 .. 2^61; s1 = n * centre.
constexpr NormFactors norm_factors(std::uint64_t V, std::int64_t s1, std::int32_t n, std::int32_t F) {
  std::int32_t k = 0, t = 15;
  for (; V < std::uint64_t{1} << 60; V <<= 2) ++k;
  const std::uint64_t inverse = (std::uint64_t{1} << 61) / isqrt(V), P = static_cast<std::uint64_t>(n) * inverse;
  const auto rounded = [&] { return (P + (std::uint64_t{1} << (60 - F - k - t))) >> (61 - F - k - t); };
  while (t > 0 && rounded() > 32767) --t;
  const auto A = rounded() > 32767 ? std::int64_t{32767} : static_cast<std::int64_t>(rounded());
  const std::int64_t half = t > 0 ? std::int64_t{1} << (t - 1) : 0,
                     centre = floor_div(2 * A * s1 + n, 2 * std::int64_t{n});
  return {static_cast<std::int32_t>(A), static_cast<std::int32_t>(half - centre), t};
}

// s1, s2: sums of the values and of their squares.
constexpr NormFactors layernorm_factors(std::int64_t s1, std::int64_t s2, std::int32_t n, std::uint64_t eps,
                                        std::int32_t F) {
  return norm_factors(static_cast<std::uint64_t>(n * s2 - s1 * s1) + eps, s1, n, F);
}

constexpr NormFactors rmsnorm_factors(std::int64_t s1, std::int64_t s2, std::int32_t n, std::int32_t in_zero,
                                      std::uint64_t eps, std::int32_t F) {
  const std::int64_t about_zero = s2 - 2 * in_zero * s1 + std::int64_t{n} * in_zero * in_zero;
  return norm_factors(static_cast<std::uint64_t>(n * about_zero) + eps, std::int64_t{n} * in_zero, n, F);
}

constexpr std::int32_t norm(std::int32_t x, const NormFactors& f, std::int32_t g, std::int32_t b, std::int32_t sh,
                            std::int32_t lo, std::int32_t hi) {
  const std::int32_t z = clamp((f.A * x + f.B) >> f.t, -32768, 32767);
  return clamp((z * g + b) >> sh, lo, hi);
}

}  // namespace openbpu::numerics
