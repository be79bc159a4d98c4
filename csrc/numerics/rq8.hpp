// RQ8: int32 accumulator to int8 (docs/numerics.md, clause RQ8).
#pragma once

#include <cstdint>

namespace openbpu::numerics {

constexpr std::int32_t clamp(std::int32_t v, std::int32_t lo, std::int32_t hi) { return v < lo ? lo : v > hi ? hi : v; }

// acc: sum of products; B, m, s of the channel; L of the operator. lo and hi lie within int8.
constexpr std::int32_t rq8(std::int32_t acc, std::int32_t B, std::int32_t m, std::int32_t s, std::int32_t L,
                           std::int32_t lo, std::int32_t hi) {
  // Unsigned arithmetic: the sum is proved to fit int32, a shift of a negative value is not defined in C++17.
  const auto a = static_cast<std::int32_t>((static_cast<std::uint32_t>(acc) << L) + static_cast<std::uint32_t>(B));
  const std::int32_t t = clamp(a >> s, -32768, 32767);
  return clamp((t * m) >> 22, lo, hi);
}

}  // namespace openbpu::numerics
