// LUT8: out = table[in + 128], element by element. in and out have equal extents, int8, sc == 1.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct Lut8Params {
  View in, out;
  const std::int8_t* table;  // 256 entries, index = int8 value + 128
  std::uint8_t flip;
};

Rows<Lut8Params> lut8_rows();

}  // namespace openbpu::kernels
