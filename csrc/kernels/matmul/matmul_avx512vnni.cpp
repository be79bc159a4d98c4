#include "kernels/conv/conv_rows.hpp"
#include "kernels/matmul/matmul_rows.hpp"

namespace openbpu::kernels {
namespace {

// A matrix product with constant right operand is a convolution with one tap over a line of pixels.
ConvParams as_conv(const MatMulParams& p) {
  return {p.in, p.out, 1, 1, 1, 1, 1, 1, 0, 0, 1, p.weights, p.rq, 0, p.flip};
}

bool accepts(const MatMulParams& p) { return kConvAvx512Vnni.accepts(as_conv(p)); }

Plan plan(const MatMulParams& p) { return kConvAvx512Vnni.plan(as_conv(p)); }

void pack(const MatMulParams& p, std::uint8_t* packed) { kConvAvx512Vnni.pack(as_conv(p), packed); }

void run(const MatMulParams& p, const std::uint8_t* packed, std::uint8_t* scratch, std::int32_t begin,
         std::int32_t end) {
  kConvAvx512Vnni.run(as_conv(p), packed, scratch, begin, end);
}

}  // namespace

const Row<MatMulParams> kMatMulAvx512Vnni{"matmul_avx512vnni_6x64", Isa::Avx512Vnni, accepts, plan, pack, run};

}  // namespace openbpu::kernels
