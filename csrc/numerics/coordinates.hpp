// Places of GRIDSAMPLE (docs/numerics.md): single float32 operations, then integers.
#pragma once

#include <cmath>
#include <cstdint>

namespace openbpu::numerics {

// The coordinate in pixels of g, -1 to 1 over the image. Each operation is rounded to float32.
inline float place(float g, std::int32_t length, bool align_corners) {
  const float whole = g + 1.0f;
  if (align_corners) {
    const float half = whole / 2.0f;
    return half * static_cast<float>(length - 1);
  }
  const float scaled = whole * static_cast<float>(length);
  const float edge = scaled - 1.0f;
  return edge / 2.0f;
}

// rne(x), NaN and what lies beyond the limits as the lower or upper limit.
inline std::int32_t limited(float x, std::int32_t lo, std::int32_t hi) {
  const float r = std::nearbyintf(x);
  if (!(r > static_cast<float>(lo))) return lo;
  return r >= static_cast<float>(hi) ? hi : static_cast<std::int32_t>(r);
}

inline std::int32_t nearest_pixel(float g, std::int32_t length, bool align_corners, bool border) {
  const float x = place(g, length, align_corners);
  return border ? limited(x, 0, length - 1) : limited(x, -1, length);
}

// In steps of 1/2048 pixel.
inline std::int32_t fixed_place(float g, std::int32_t length, bool align_corners, bool border) {
  const float x = place(g, length, align_corners) * 2048.0f;
  return border ? limited(x, 0, (length - 1) * 2048) : limited(x, -4096, (length + 1) * 2048);
}

}  // namespace openbpu::numerics
