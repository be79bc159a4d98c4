// RESCALE: y = clamp((x * m + bias) >> sh, lo, hi), int64; int8 to int8 (clause RQ16).
// in and out have equal extents, sc == 1. The compiler folds both zero points and the rounding half into bias:
// bias = (zero_out << sh) - zero_in * m + (1 << (sh - 1)).
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct RescaleEntry {
  std::int64_t bias;
  std::int32_t m;
  std::uint8_t sh;  // 1..62
  std::uint8_t reserved[3];
};

struct RescaleParams {
  View in, out;
  const RescaleEntry* entries;
  std::int32_t entry_count;  // 1 or out.c
  std::int32_t lo, hi;
  std::uint8_t flip;
};

Rows<RescaleParams> rescale_rows();

}  // namespace openbpu::kernels
