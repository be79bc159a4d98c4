// TCONV2D: the transpose of a convolution. Output row oy receives input row iy through tap ky where
// oy = iy * stride_h - pad_top + ky * dilation_h; columns alike; RQ8 epilogue.
//
// in [n, h, w, groups * ci], out [n, oh, ow, groups * co], both int8, sc == 1. Taps without an input row or column
// contribute in_zero * weight, so that bias and zero point fold into B as for a convolution with all taps present.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct TConvParams {
  View in, out;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  std::int32_t groups;
  const std::int8_t* weights;  // canonical, as in conv.hpp: i8 [groups][co/16][kernel_h * kernel_w][ci/4][16][4]
  Rq8 rq;
  std::int32_t in_zero;
  std::uint8_t flip;
};

// As conv16: int16 with zero point 0, so that absent taps are nothing; RQ16 epilogue.
struct TConv16Params {
  View in, out;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  std::int32_t groups;
  const std::int8_t* weights;
  Rq16 rq;
};

Rows<TConvParams> tconv_rows();
Rows<TConv16Params> tconv16_rows();

}  // namespace openbpu::kernels
