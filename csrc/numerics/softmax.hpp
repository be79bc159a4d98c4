// SOFTMAX over one row (docs/numerics.md).
#pragma once

#include <cstdint>

#include "numerics/elementwise.hpp"

namespace openbpu::numerics {

// The row's factor: sum is the sum of the table entries E.
constexpr std::uint64_t softmax_factor(std::uint64_t C, std::uint64_t sum) { return (C + sum / 2) / sum; }

constexpr std::int32_t softmax(std::uint32_t E, std::uint64_t R, std::int32_t zero, std::int32_t lo, std::int32_t hi) {
  const std::uint64_t scaled = (E * R + (std::uint64_t{1} << 37)) >> 38;
  return clamp64(static_cast<std::int64_t>(scaled) + zero, lo, hi);
}

}  // namespace openbpu::numerics
