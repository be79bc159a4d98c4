// QUANTIZE: q = saturate(round_half_even(x / scale) + zero), float32 division, NaN gives zero (clause PORTS).
// DEQUANTIZE: x = (q - zero) * scale, float32.
//
// The 16-bit forms have int16 with zero point 0 in place of int8.
//
// One side is float32 with any strides (usually the caller's NCHW memory: exact access), the other int8 with sc == 1.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct QuantizeParams {
  View in, out;
  float scale;
  std::int32_t zero;
  std::uint8_t flip;  // of the int8 side
};

Rows<QuantizeParams> quantize_rows();
Rows<QuantizeParams> dequantize_rows();

struct Quantize16Params {
  View in, out;
  float scale;
};

Rows<Quantize16Params> quantize16_rows();
Rows<Quantize16Params> dequantize16_rows();

}  // namespace openbpu::kernels
