// The rows of eltwise.hpp, each defined in the file of its ISA.
#pragma once

#include "kernels/eltwise/eltwise.hpp"

namespace openbpu::kernels {

extern const Row<AddParams> kAddAvx512Vnni;
extern const Row<AddParams> kAddAvx2;
extern const Row<AddParams> kAddNeon;
extern const Row<AddParams> kAddScalar;
extern const Row<MulParams> kMulAvx512Vnni;
extern const Row<MulParams> kMulAvx2;
extern const Row<MulParams> kMulNeon;
extern const Row<MulParams> kMulScalar;
extern const Row<ExtremeParams> kExtremeAvx512Vnni;
extern const Row<ExtremeParams> kExtremeAvx2;
extern const Row<ExtremeParams> kExtremeNeon;
extern const Row<ExtremeParams> kExtremeScalar;
extern const Row<CmpParams> kCmpScalar;
extern const Row<DivParams> kDivScalar;
extern const Row<Add16Params> kAdd16Avx512Vnni;
extern const Row<Add16Params> kAdd16Avx2;
extern const Row<Add16Params> kAdd16Neon;
extern const Row<Add16Params> kAdd16Scalar;
extern const Row<Mul16Params> kMul16Avx512Vnni;
extern const Row<Mul16Params> kMul16Avx2;
extern const Row<Mul16Params> kMul16Neon;
extern const Row<Mul16Params> kMul16Scalar;

}  // namespace openbpu::kernels
