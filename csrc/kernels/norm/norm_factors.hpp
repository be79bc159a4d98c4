// The factors of a row for vector rows: numerics::norm_factors() with the root and the leading bits that hosts have.
#pragma once

#include "kernels/arithmetic.hpp"
#include "numerics/norm.hpp"

namespace openbpu::kernels {
namespace {

// floor(sqrt(v)) for 2^60 <= v < 2^63: the float64 root is off by one at most.
OPENBPU_INLINE std::uint64_t root_of(std::uint64_t v) {
  auto root = static_cast<std::uint64_t>(__builtin_sqrt(static_cast<double>(v)));
  root -= root * root > v;
  root += (root + 1) * (root + 1) <= v;
  return root;
}

OPENBPU_INLINE std::int32_t bits_of(std::uint64_t v) { return 64 - __builtin_clzll(v); }

// V = n * (sum of squares about the centre) + eps; s1 = n * centre.
OPENBPU_INLINE numerics::NormFactors factors_of(std::uint64_t V, std::int64_t s1, std::int32_t n, std::int32_t F,
                                                numerics::NormWidth width) {
  const std::int32_t k = max(0, (62 - bits_of(V)) / 2);
  const std::uint64_t P = static_cast<std::uint64_t>(n) * ((std::uint64_t{1} << 61) / root_of(V << 2 * k));
  const std::uint64_t most = (std::uint64_t{1} << width.bits) - 1;
  const std::int32_t whole = 61 - F - k;  // the shift for t = 0
  std::int32_t shift = max(bits_of(P) - width.bits, whole - width.widest);
  shift += ((P + (std::uint64_t{1} << (shift - 1))) >> shift) > most;
  shift = min(shift, whole);
  const std::uint64_t rounded = (P + (std::uint64_t{1} << (shift - 1))) >> shift;
  const auto A = static_cast<std::int64_t>(rounded > most ? most : rounded);
  const std::int32_t t = whole - shift;
  const std::int64_t twice = 2 * A * s1 + n, divisor = 2 * std::int64_t{n};
  const std::int64_t centre = twice / divisor - (twice % divisor < 0);
  return {(t > 0 ? std::int64_t{1} << (t - 1) : 0) - centre, static_cast<std::int32_t>(A), t};
}

}  // namespace
}  // namespace openbpu::kernels
