// The rows of matmul_rows() and matmuld_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/matmul/matmul.hpp"

namespace openbpu::kernels {

extern const Row<MatMulParams> kMatMulAmx;
extern const Row<MatMulParams> kMatMulAvx512Vnni;
extern const Row<MatMulParams> kMatMulAvxVnni;
extern const Row<MatMulParams> kMatMulAvx2;
extern const Row<MatMulParams> kMatMulNeonI8mm;
extern const Row<MatMulParams> kMatMulNeonDot;
extern const Row<MatMulParams> kMatMulNeon;
extern const Row<MatMulParams> kMatMulScalar;
extern const Row<MatMulDParams> kMatMulDAmx;
extern const Row<MatMulDParams> kMatMulDAvx512Vnni;
extern const Row<MatMulDParams> kMatMulDAvx2;
extern const Row<MatMulDParams> kMatMulDNeon;
extern const Row<MatMulDParams> kMatMulDScalar;
extern const Row<MatMulD16Params> kMatMulD16Avx512Vnni;
extern const Row<MatMulD16Params> kMatMulD16Avx2;
extern const Row<MatMulD16Params> kMatMulD16Neon;
extern const Row<MatMulD16Params> kMatMulD16Scalar;

}  // namespace openbpu::kernels
