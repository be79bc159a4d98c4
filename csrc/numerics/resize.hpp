// RESIZE_BILIN of one channel (docs/numerics.md); weights of an axis sum to 2048.
#pragma once

#include <cstdint>

#include "numerics/rq8.hpp"

namespace openbpu::numerics {

constexpr std::int32_t bilinear(std::int32_t x00, std::int32_t x01, std::int32_t x10, std::int32_t x11,
                                std::int32_t wy0, std::int32_t wy1, std::int32_t wx0, std::int32_t wx1) {
  const std::int32_t sum = wy0 * (wx0 * x00 + wx1 * x01) + wy1 * (wx0 * x10 + wx1 * x11);
  return clamp((sum + (1 << 21)) >> 22, -128, 127);
}

}  // namespace openbpu::numerics
