// ROIRESIZE: out[n] = the region of interest n of in[n] at the size of the output, bilinear (docs/numerics.md, clause
// ROIRESIZE).
//
// in [n, h, w, c] at any strides, perhaps the caller's memory; roi int32 [n, 1, 1, 4]: left, top, right, bottom, the
// last pixels included, in units of 2^-shift pixels of in. out int8, sc == 1. A region that does not lie in the image,
// or of which a border falls between pixels, gives pixels of value -128 and sets `fault`.
#pragma once

#include <atomic>

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct RoiResizeParams {
  View in, roi, out;
  std::int32_t height, width;  // of the whole output
  std::int32_t y, x;           // of the first output in the whole
  std::int32_t shift;
  std::uint8_t in_flip, out_flip;
  std::atomic<bool>* fault;
};

Rows<RoiResizeParams> roiresize_rows();

}  // namespace openbpu::kernels
