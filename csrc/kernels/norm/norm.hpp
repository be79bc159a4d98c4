// LAYERNORM and RMSNORM over c (docs/numerics.md, clause NORM). in and out have equal extents, int8, sc == 1.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct NormParams {
  View in, out;
  const std::int32_t* b;  // offset and gain per channel
  const std::int16_t* g;
  std::uint64_t eps;   // 1 .. 2^60 - 1
  std::int32_t F, sh;  // fraction bits of z; shift of the result, 1 .. 30
  bool centred;        // LAYERNORM: about the mean of the row; else about in_zero
  std::int32_t in_zero;
  std::int32_t lo, hi;
  std::uint8_t flip;
};

Rows<NormParams> norm_rows();

}  // namespace openbpu::kernels
