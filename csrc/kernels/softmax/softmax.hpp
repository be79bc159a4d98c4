// SOFTMAX over c (docs/numerics.md, clause SOFTMAX). in and out have equal extents, int8, sc == 1.
// softmax16: in int16, exponentials interpolated in a table of 2^(16 - shift) + 1 entries over the distance.
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

struct Softmax16Params {
  View in, out;
  const std::uint16_t* exp;
  std::int32_t shift;  // 0..7
  std::uint64_t C;
  std::int32_t zero, lo, hi;
  Stored stored;  // of out
};

Rows<SoftmaxParams> softmax_rows();
Rows<Softmax16Params> softmax16_rows();

}  // namespace openbpu::kernels
