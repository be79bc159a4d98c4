// PORTS: float32 to int8 and back (docs/numerics.md). The one place of the law that uses floating point.
#pragma once

#include <cmath>
#include <cstdint>

namespace openbpu::numerics {

// float32 division, round half to even, saturate; NaN gives zero. Needs the default rounding mode.
inline std::int32_t quantise(float x, float scale, std::int32_t zero) {
  const float q = std::nearbyintf(x / scale);
  if (std::isnan(q)) return zero;
  if (q <= static_cast<float>(-128 - zero)) return -128;
  if (q >= static_cast<float>(127 - zero)) return 127;
  return static_cast<std::int32_t>(q) + zero;
}

inline float dequantise(std::int32_t q, float scale, std::int32_t zero) { return static_cast<float>(q - zero) * scale; }

}  // namespace openbpu::numerics
