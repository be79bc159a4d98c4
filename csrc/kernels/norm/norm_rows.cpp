#include "kernels/norm/norm_rows.hpp"

namespace openbpu::kernels {

Rows<NormParams> norm_rows() {
  static const Row<NormParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kNormAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kNormAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kNormNeon,
#endif
      kNormScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Norm16Params> norm16_rows() {
  static const Row<Norm16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kNorm16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kNorm16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kNorm16Neon,
#endif
      kNorm16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
