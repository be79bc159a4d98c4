// MAXPOOL, AVGPOOL over windows of one channel (docs/numerics.md, clause POOL).
//
// in [n, h, w, c], out [n, oh, ow, c], int8, sc == 1; geometry as in conv.hpp. A window of MAXPOOL has at least one tap
// inside. AVGPOOL: S = sum (x - in_zero) over the taps inside; y = clamp((S * m + (1 << (sh-1)) + (zero << sh)) >> sh),
// int64, with (m, sh) of entry 0 if there is one entry, else of entry (taps inside - 1).
// maxpool16, avgpool16: in int16 with zero point 0; AVGPOOL ends in RQ16, an entry as above.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct PoolGeometry {
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

struct MaxPoolParams {
  View in, out;
  PoolGeometry window;
  std::uint8_t flip;
};

struct PoolScale {
  std::int32_t m;
  std::uint32_t sh;  // 1..46
};

struct AvgPoolParams {
  View in, out;
  PoolGeometry window;
  const PoolScale* scales;
  std::int32_t scale_count;
  std::int32_t in_zero, zero;
  std::int32_t lo, hi;
  std::uint8_t flip;
};

struct MaxPool16Params {
  View in, out;
  PoolGeometry window;
};

struct AvgPool16Params {
  View in, out;
  PoolGeometry window;
  Rq16 rq;
  std::int32_t entry_count;
};

Rows<MaxPoolParams> maxpool_rows();
Rows<AvgPoolParams> avgpool_rows();
Rows<MaxPool16Params> maxpool16_rows();
Rows<AvgPool16Params> avgpool16_rows();

}  // namespace openbpu::kernels
