// The rows of lut8_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/lut/lut.hpp"

namespace openbpu::kernels {

extern const Row<Lut8Params> kLut8Avx512Vbmi;
extern const Row<Lut8Params> kLut8Avx512Vnni;
extern const Row<Lut8Params> kLut8Avx2;
extern const Row<Lut8Params> kLut8Neon;
extern const Row<Lut8Params> kLut8Scalar;
extern const Row<Lut16Params> kLut16Avx512Vnni;
extern const Row<Lut16Params> kLut16Avx2;
extern const Row<Lut16Params> kLut16Neon;
extern const Row<Lut16Params> kLut16Scalar;

}  // namespace openbpu::kernels
