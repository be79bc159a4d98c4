// Regions of interest of ROIRESIZE (docs/numerics.md, clause ROIRESIZE).
#pragma once

#include <cstdint>

namespace openbpu::numerics {

struct Tap {
  std::int32_t i0, i1, w1;  // weights 2048 - w1 and w1
};

// Pixels from `first` to `last`, both in units of 2^-shift pixels; 0 if they do not lie in an axis of `extent` pixels,
// or a border falls between pixels.
constexpr std::int32_t region_length(std::int32_t first, std::int32_t last, std::int32_t extent, std::int32_t shift) {
  const std::int32_t mask = (1 << shift) - 1;
  if (first < 0 || last < first || (first & mask) != 0 || (last & mask) != mask) return 0;
  const std::int32_t begin = first >> shift, end = last >> shift;
  return end < extent ? end - begin + 1 : 0;
}

// Where output `at` of `count` lies in a region of `length` pixels, from its first pixel on.
constexpr Tap region_tap(std::int32_t at, std::int32_t count, std::int32_t length) {
  const std::int64_t place = ((std::int64_t{2} * at + 1) * length * 2048 + count) / (std::int64_t{2} * count) - 1024;
  const std::int64_t most = std::int64_t{length - 1} * 2048, x = place < 0 ? 0 : place > most ? most : place;
  const auto first = static_cast<std::int32_t>(x >> 11);
  return {first, first + 1 < length ? first + 1 : length - 1, static_cast<std::int32_t>(x & 2047)};
}

}  // namespace openbpu::numerics
