// REDUCE and ARGMAX over c (docs/numerics.md, clauses REDUCE and ARGMAX).
//
// in [n, h, w, c], int8, sc == 1. out [n, h, w, 1]: int8, or int64 for ARGMAX, at any address. Of sums and norms, S is
// the sum of (x - in_zero), of its magnitude or of its square, or 2^15 times the root of that;
// y = clamp((S * m + (1 << (sh - 1)) + (zero << sh)) >> sh, lo, hi) in int64.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

enum class Reduction : std::uint8_t { Largest, Smallest, Sum, Magnitudes, Squares, Norm };

struct ReduceParams {
  View in, out;
  Reduction kind;
  std::int32_t in_zero, zero;
  std::int32_t m, sh;  // not of the largest and smallest
  std::int32_t lo, hi;
  std::uint8_t flip;
};

struct ArgMaxParams {
  View in, out;
  std::uint8_t flip;
};

Rows<ReduceParams> reduce_rows();
Rows<ArgMaxParams> argmax_rows();

}  // namespace openbpu::kernels
