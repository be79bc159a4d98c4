// The 16-bit forms (docs/numerics.md, chapter int16). RQ16 itself is rq16() of elementwise.hpp.
#pragma once

#include <cstdint>

#include "numerics/elementwise.hpp"

namespace openbpu::numerics {

// a * ma + b * mb, requantised; mb is negative for a difference. |ma| + |mb| < 2^29, |bias| < 2^62.
constexpr std::int32_t add16(std::int32_t a, std::int32_t b, std::int32_t ma, std::int32_t mb, std::int64_t bias,
                             std::int32_t sh, std::int32_t lo, std::int32_t hi) {
  return clamp64((std::int64_t{a} * ma + std::int64_t{b} * mb + bias) >> sh, lo, hi);
}

// Between two neighbours of a table of 2^(16 - shift) + 1 entries, for `x` counted from the start of the table.
template <class T>
constexpr std::int32_t interpolate(const T* table, std::int32_t x, std::int32_t shift) {
  const std::int32_t i = x >> shift, f = x & ((1 << shift) - 1);
  if (f == 0) return table[i];
  return table[i] + (((table[i + 1] - table[i]) * f + (1 << shift >> 1)) >> shift);
}

// LUT16: knots at -32768, -32768 + 2^shift, ..., 32768.
constexpr std::int32_t lut16(const std::int16_t* table, std::int32_t x, std::int32_t shift) {
  return interpolate(table, x + 32768, shift);
}

// RESIZE_BILIN of one channel; weights of an axis sum to 2^20.
constexpr std::int32_t bilinear16(std::int64_t x00, std::int64_t x01, std::int64_t x10, std::int64_t x11,
                                  std::int64_t wy0, std::int64_t wy1, std::int64_t wx0, std::int64_t wx1) {
  const std::int64_t sum = wy0 * (wx0 * x00 + wx1 * x01) + wy1 * (wx0 * x10 + wx1 * x11);
  return static_cast<std::int32_t>((sum + (std::int64_t{1} << 39)) >> 40);
}

// float32 to int16 with zero point 0, as quantise() of quantise.hpp.
inline std::int32_t quantise16(float q) {
  return q != q ? 0 : q <= -32768.0F ? -32768 : q >= 32767.0F ? 32767 : static_cast<std::int32_t>(q);
}

static_assert(add16(20000, -15000, 286331153, 238609294, std::int64_t{1} << 28, 29, -32768, 32767) == 4000);

}  // namespace openbpu::numerics
