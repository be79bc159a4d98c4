// MATMUL: out[m, n] = RQ8(sum over k of in[m, k] * weight[k, n]), one constant right operand.
// MATMULD: the same with a run-time right operand, per image, with one RQ8 entry for all columns.
//
// Matrices are views with h == 1, w = rows, c = columns, sc == 1; n counts independent matrices.
#pragma once

#include "kernels/kernel.hpp"

namespace openbpu::kernels {

struct MatMulParams {
  View in, out;
  const std::int8_t* weights;  // canonical with one tap: i8 [co/16][ci/4][16][4]; co = out.c, ci = in.c
  Rq8 rq;
  std::uint8_t flip;
};

struct MatMulDParams {
  View a, b, out;
  bool transpose_b;             // b is [n, k] instead of [k, n]
  std::int32_t a_zero, b_zero;  // acc = sum (a - a_zero)(b - b_zero)
  Rq8 rq;                       // one channel; B holds the zero point of out and the roundings only
  std::uint8_t flip;
};

// int16 by int16, zero points 0; sums in int64, RQ16 with one entry.
struct MatMulD16Params {
  View a, b, out;
  bool transpose_b;
  Rq16 rq;
};

Rows<MatMulParams> matmul_rows();
Rows<MatMulDParams> matmuld_rows();
Rows<MatMulD16Params> matmuld16_rows();

}  // namespace openbpu::kernels
