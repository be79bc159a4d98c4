// CONV2D, GCONV2D: out[oc] = RQ8(sum over ky, kx, ic of in * weight); a tap outside the input reads in_zero.
//
// in [n, h, w, groups * ci], out [n, oh, ow, groups * co], both int8, sc == 1.
// Input row = oy * stride_h - pad_top + ky * dilation_h; columns alike. pad_top and pad_left may be negative when the
// engine binds a stripe of the output.
// conv16: in int16 with zero point 0, out = RQ16(sum in int64); a tap outside the input is nothing.
// Overflow: the verifier has proved (sum |w| * max|x|) * 2^L + |B| < 2^31 per channel, so any order of accumulation,
// and accumulation modulo 2^32 of the offset form, gives the same bits.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct ConvParams {
  View in, out;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  std::int32_t groups;
  // Canonical weights: i8 [groups][co/16][kernel_h * kernel_w][ci/4][16][4], zero padded (isa/formats.def).
  const std::int8_t* weights;
  Rq8 rq;
  std::int32_t in_zero;  // zero point of in, as an int8 value
  std::uint8_t flip;
};

// What the 16-bit forms of convolutions have in common. MATMUL is one with a single tap.
struct Conv16Params {
  View in, out;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  std::int32_t groups;
  const std::int8_t* weights;
  Rq16 rq;
};

Rows<ConvParams> conv_rows();
Rows<Conv16Params> conv16_rows();

}  // namespace openbpu::kernels
