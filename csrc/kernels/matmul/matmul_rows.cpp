#include "kernels/matmul/matmul_rows.hpp"

namespace openbpu::kernels {

Rows<MatMulParams> matmul_rows() {
  static const Row<MatMulParams> rows[] = {
#ifdef OPENBPU_HAS_AMX
      kMatMulAmx,
#endif
#ifdef OPENBPU_HAS_AVX512VNNI
      kMatMulAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVXVNNI
      kMatMulAvxVnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMatMulAvx2,
#endif
#ifdef OPENBPU_HAS_NEONI8MM
      kMatMulNeonI8mm,
#endif
#ifdef OPENBPU_HAS_NEONDOT
      kMatMulNeonDot,
#endif
#ifdef OPENBPU_HAS_NEON
      kMatMulNeon,
#endif
      kMatMulScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<MatMulDParams> matmuld_rows() {
  static const Row<MatMulDParams> rows[] = {
#ifdef OPENBPU_HAS_AMX
      kMatMulDAmx,
#endif
#ifdef OPENBPU_HAS_AVX512VNNI
      kMatMulDAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMatMulDAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kMatMulDNeon,
#endif
      kMatMulDScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<MatMulD16Params> matmuld16_rows() {
  static const Row<MatMulD16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kMatMulD16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMatMulD16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kMatMulD16Neon,
#endif
      kMatMulD16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
