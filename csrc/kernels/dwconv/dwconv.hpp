// DWCONV2D: out[c] = RQ8(sum over ky, kx of in[c] * weight[c]); geometry, padding and overflow as in conv.hpp.
//
// in [n, h, w, c], out [n, oh, ow, c], both int8, sc == 1; dwconv16 as conv16. Channel multiplier 1 (others are lowered
// to GCONV2D).
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct DwConvParams {
  View in, out;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  const std::int8_t* weights;  // canonical: i8 [c/16][kernel_h * kernel_w][16], zero padded
  Rq8 rq;
  std::int32_t in_zero;
  std::uint8_t flip;
};

struct DwConv16Params {
  View in, out;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  const std::int8_t* weights;
  Rq16 rq;
};

Rows<DwConvParams> dwconv_rows();
Rows<DwConv16Params> dwconv16_rows();

}  // namespace openbpu::kernels
