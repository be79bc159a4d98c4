// The rows of dwconv_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/dwconv/dwconv.hpp"

namespace openbpu::kernels {

extern const Row<DwConvParams> kDwConv3x3Avx512Vnni;
extern const Row<DwConvParams> kDwConvAvx512Vnni;
extern const Row<DwConvParams> kDwConvAvx2;
extern const Row<DwConvParams> kDwConv3x3NeonDot;
extern const Row<DwConvParams> kDwConvNeon;
extern const Row<DwConvParams> kDwConvScalar;
extern const Row<DwConv16Params> kDwConv16Avx512Vnni;
extern const Row<DwConv16Params> kDwConv16Avx2;
extern const Row<DwConv16Params> kDwConv16Neon;
extern const Row<DwConv16Params> kDwConv16Scalar;

}  // namespace openbpu::kernels
