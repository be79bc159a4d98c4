// RESCALE: y = clamp((x * m + bias) >> sh, lo, hi), int64; int8 to int8, and (rescale16) from or to int16 (clause
// RQ16). in and out have equal extents, sc == 1. The compiler folds both zero points and the rounding half into bias:
// bias = (zero_out << sh) - zero_in * m + (1 << (sh - 1)).
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct RescaleParams {
  View in, out;
  const Rq16Entry* entries;
  std::int32_t entry_count;  // 1 or out.c
  std::int32_t lo, hi;
  std::uint8_t flip;
};

struct Rescale16Params {
  View in, out;
  Stored stored;  // of in
  Rq16 rq;
  std::int32_t entry_count;  // 1 or out.c
};

Rows<RescaleParams> rescale_rows();
Rows<Rescale16Params> rescale16_rows();

}  // namespace openbpu::kernels
