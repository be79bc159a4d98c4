// The rows of tconv_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/tconv/tconv.hpp"

namespace openbpu::kernels {

extern const Row<TConvParams> kTConvAvx2;
extern const Row<TConvParams> kTConvNeonI8mm;
extern const Row<TConvParams> kTConvNeonDot;
extern const Row<TConvParams> kTConvNeon;
extern const Row<TConvParams> kTConvScalar;
extern const Row<TConv16Params> kTConv16Avx512Vnni;
extern const Row<TConv16Params> kTConv16Avx2;
extern const Row<TConv16Params> kTConv16Neon;
extern const Row<TConv16Params> kTConv16Scalar;

}  // namespace openbpu::kernels
