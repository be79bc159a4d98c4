// The rows of norm_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/norm/norm.hpp"

namespace openbpu::kernels {

extern const Row<NormParams> kNormAvx512Vnni;
extern const Row<NormParams> kNormAvx2;
extern const Row<NormParams> kNormNeon;
extern const Row<NormParams> kNormScalar;

extern const Row<Norm16Params> kNorm16Avx512Vnni;
extern const Row<Norm16Params> kNorm16Avx2;
extern const Row<Norm16Params> kNorm16Neon;
extern const Row<Norm16Params> kNorm16Scalar;

}  // namespace openbpu::kernels
