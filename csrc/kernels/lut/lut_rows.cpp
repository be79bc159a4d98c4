#include "kernels/lut/lut_rows.hpp"

namespace openbpu::kernels {

Rows<Lut8Params> lut8_rows() {
  static const Row<Lut8Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VBMI
      kLut8Avx512Vbmi,
#endif
#ifdef OPENBPU_HAS_AVX512VNNI
      kLut8Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kLut8Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kLut8Neon,
#endif
      kLut8Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Lut16Params> lut16_rows() {
  static const Row<Lut16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kLut16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kLut16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kLut16Neon,
#endif
      kLut16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
