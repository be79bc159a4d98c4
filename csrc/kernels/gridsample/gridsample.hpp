// GRIDSAMPLE: out[n, y, x, :] = in[n, :, :, :] at the place grid[n, y, x] = (x, y) (docs/numerics.md, clause
// GRIDSAMPLE).
//
// in and out int8, sc == 1; grid float32 at any strides and any address. Pixels outside the image count as `zero`, or
// are those of its border.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct GridSampleParams {
  View in, grid, out;
  bool nearest, border, align_corners;
  std::int32_t zero;
  std::uint8_t flip;
};

Rows<GridSampleParams> gridsample_rows();

}  // namespace openbpu::kernels
