// RESIZE_NN: out[y, x] = in[rows[y].i0, columns[x].i0].
// RESIZE_BILIN: y = sat((sum of w_y * w_x * x + 2^21) >> 22) over the four neighbours; weights of an axis sum to 2048.
//
// in [n, h, w, c], out [n, oh, ow, c], int8, sc == 1, equal scale and zero point.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct ResizeTap {
  std::int32_t i0, i1;
  std::int16_t w0, w1;
};

struct ResizeParams {
  View in, out;
  const ResizeTap* rows;     // out.h entries
  const ResizeTap* columns;  // out.w entries
  std::uint8_t flip;
};

Rows<ResizeParams> resize_nearest_rows();
Rows<ResizeParams> resize_bilinear_rows();

// int16: nearest as above; bilinear with weights that sum to 2^20, y = (sum + 2^39) >> 40 in int64.
struct Resize16Tap {
  std::int32_t i0, i1;
  std::uint32_t w0, w1;
};

struct ResizeNearest16Params {
  View in, out;
  const ResizeTap* rows;
  const ResizeTap* columns;
};

struct ResizeBilinear16Params {
  View in, out;
  const Resize16Tap* rows;
  const Resize16Tap* columns;
};

Rows<ResizeNearest16Params> resize_nearest16_rows();
Rows<ResizeBilinear16Params> resize_bilinear16_rows();

}  // namespace openbpu::kernels
