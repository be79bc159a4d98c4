// The end of CSC (docs/numerics.md, clause CSC).
#pragma once

#include <cstdint>

#include "numerics/rq8.hpp"

namespace openbpu::numerics {

constexpr std::int32_t colour(std::int32_t sum, std::int32_t b, std::int32_t sh, std::int32_t lo, std::int32_t hi) {
  return clamp((sum + b) >> sh, lo, hi);
}

}  // namespace openbpu::numerics
