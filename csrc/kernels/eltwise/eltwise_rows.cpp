#include "kernels/eltwise/eltwise_rows.hpp"

namespace openbpu::kernels {

Rows<AddParams> add_rows() {
  static const Row<AddParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kAddAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kAddAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kAddNeon,
#endif
      kAddScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<MulParams> mul_rows() {
  static const Row<MulParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kMulAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMulAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kMulNeon,
#endif
      kMulScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<ExtremeParams> extreme_rows() {
  static const Row<ExtremeParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kExtremeAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kExtremeAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kExtremeNeon,
#endif
      kExtremeScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<CmpParams> cmp_rows() { return {&kCmpScalar, 1}; }
Rows<DivParams> div_rows() { return {&kDivScalar, 1}; }

Rows<Add16Params> add16_rows() {
  static const Row<Add16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kAdd16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kAdd16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kAdd16Neon,
#endif
      kAdd16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Mul16Params> mul16_rows() {
  static const Row<Mul16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kMul16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMul16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kMul16Neon,
#endif
      kMul16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
