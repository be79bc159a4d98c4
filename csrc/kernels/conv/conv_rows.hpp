// The rows of conv_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/conv/conv.hpp"

namespace openbpu::kernels {

extern const Row<ConvParams> kConvAmx;
extern const Row<ConvParams> kConvAvx512Vnni;
extern const Row<ConvParams> kConvAvxVnni;
extern const Row<ConvParams> kConvAvx2;
extern const Row<ConvParams> kConvNeonI8mm;
extern const Row<ConvParams> kConvNeonDot;
extern const Row<ConvParams> kConvNeon;
extern const Row<ConvParams> kConvScalar;
extern const Row<Conv16Params> kConv16Avx512Vnni;
extern const Row<Conv16Params> kConv16Avx2;
extern const Row<Conv16Params> kConv16Neon;
extern const Row<Conv16Params> kConv16Scalar;

}  // namespace openbpu::kernels
