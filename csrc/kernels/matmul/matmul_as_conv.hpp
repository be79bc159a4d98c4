// A matrix product with constant right operand is a convolution with one tap over a line of pixels.
#pragma once

#include "kernels/conv/conv_rows.hpp"
#include "kernels/matmul/matmul_rows.hpp"

namespace openbpu::kernels {
namespace {

template <const Row<ConvParams>& row>
struct MatMulAsConv {
  static ConvParams as_conv(const MatMulParams& p) {
    return {p.in, p.out, 1, 1, 1, 1, 1, 1, 0, 0, 1, p.weights, p.rq, 0, p.flip};
  }
  static bool accepts(const MatMulParams& p) { return row.accepts(as_conv(p)); }
  static Plan plan(const MatMulParams& p) { return row.plan(as_conv(p)); }
  static void pack(const MatMulParams& p, std::uint8_t* packed) { row.pack(as_conv(p), packed); }
  static void run(const MatMulParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
                  std::int32_t end) {
    row.run(as_conv(p), packed, scratch, begin, end);
  }
  static Region region(const MatMulParams& p, std::int32_t unit) { return row.region(as_conv(p), unit); }
};

}  // namespace
}  // namespace openbpu::kernels
