// ADD, SUB, MUL, DIV, RQ16/RESCALE and reductions (docs/numerics.md).
#pragma once

#include <cstdint>

#include "numerics/rq8.hpp"

namespace openbpu::numerics {

constexpr std::int32_t clamp64(std::int64_t v, std::int32_t lo, std::int32_t hi) {
  return v < lo ? lo : v > hi ? hi : static_cast<std::int32_t>(v);
}

constexpr std::int32_t add(std::int32_t a, std::int32_t b, std::int32_t ma, std::int32_t mb, std::int32_t C,
                           std::int32_t sh, std::int32_t lo, std::int32_t hi) {
  return clamp((a * ma + b * mb + C) >> sh, lo, hi);
}

// The rounding half and the zero point of MUL and POOL, added after the multiplication. The multiplication by a power
// of two stands for a shift, which C++17 leaves undefined for negative values.
constexpr std::int64_t rounding(std::int32_t zero, std::int32_t sh) {
  return (std::int64_t{1} << (sh - 1)) + zero * (std::int64_t{1} << sh);
}

constexpr std::int32_t mul(std::int32_t a, std::int32_t b, std::int32_t a_zero, std::int32_t b_zero, std::int32_t m,
                           std::int32_t sh, std::int32_t zero, std::int32_t lo, std::int32_t hi) {
  const std::int64_t p = (a - a_zero) * (b - b_zero);
  return clamp64((p * m + rounding(zero, sh)) >> sh, lo, hi);
}

constexpr std::int32_t rq16(std::int64_t v, std::int64_t bias, std::int32_t m, std::int32_t sh, std::int32_t lo,
                            std::int32_t hi) {
  return clamp64((v * m + bias) >> sh, lo, hi);
}

// Mean of a window: S is the sum of (x - in_zero).
constexpr std::int32_t mean(std::int64_t S, std::int32_t m, std::int32_t sh, std::int32_t zero, std::int32_t lo,
                            std::int32_t hi) {
  return clamp64((S * m + rounding(zero, sh)) >> sh, lo, hi);
}

// DIV: ratio is the reciprocal of the divisor, |difference * ratio| <= 255 * 2^54.
constexpr std::int32_t quotient(std::int32_t difference, std::int64_t ratio, std::int32_t sh, std::int32_t zero,
                                std::int32_t lo, std::int32_t hi) {
  return clamp64((difference * ratio + rounding(zero, sh)) >> sh, lo, hi);
}

// floor(sqrt(v)), v < 2^62.
constexpr std::int64_t root(std::int64_t v) {
  std::int64_t result = 0;
  for (std::int64_t bit = std::int64_t{1} << 30; bit != 0; bit >>= 1)
    if ((result + bit) * (result + bit) <= v) result += bit;
  return result;
}

static_assert(root(24) == 4 && root(25) == 5 && root((std::int64_t{1} << 62) - 1) == (std::int64_t{1} << 31) - 1);
static_assert(add(100, -77, 17873, 14895, 93847, 15, -128, 127) == 22);
static_assert(mul(101, 77, 12, -128, 26214, 20, -128, -128, 127) == 127);
static_assert(rq16(55, 19542101200, 1503238554, 31, -128, 127) == 47);
static_assert(mean(180, 27307, 17, 7, -128, 127) == 45);

}  // namespace openbpu::numerics
