// SOFTMAX over c (docs/numerics.md, clause SOFTMAX). in and out have equal extents, int8, sc == 1.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct SoftmaxParams {
  View in, out;
  const std::uint16_t* exp;  // 256 entries, index = max - x
  std::uint64_t C;           // round(2^38 / output scale)
  std::int32_t zero, lo, hi;
  std::uint8_t flip;
};

Rows<SoftmaxParams> softmax_rows();

}  // namespace openbpu::kernels
