// LUT8: out = table[in + 128], element by element. in and out have equal extents, int8, sc == 1.
// LUT16: interpolation between 2^(16 - shift) + 1 knots; in and out int16.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct Lut8Params {
  View in, out;
  const std::int8_t* table;  // 256 entries, index = int8 value + 128
  std::uint8_t flip;
};

struct Lut16Params {
  View in, out;
  const std::int16_t* table;
  std::int32_t shift;  // 0..7
};

Rows<Lut8Params> lut8_rows();
Rows<Lut16Params> lut16_rows();

}  // namespace openbpu::kernels
