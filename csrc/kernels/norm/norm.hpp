// LAYERNORM and RMSNORM over c (docs/numerics.md, clause NORM). in and out have equal extents, int8, sc == 1.
// norm16: of int16, results int16 or int8.
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

struct Norm16Params {
  View in, out;
  const std::int64_t* b;
  const std::int32_t* g;
  std::uint64_t eps;
  std::int32_t F, sh;  // sh: 1 .. 46
  bool centred;
  std::int32_t lo, hi;
  Stored stored;  // of out
};

Rows<NormParams> norm_rows();
Rows<Norm16Params> norm16_rows();

}  // namespace openbpu::kernels
