#include "kernels/tconv/tconv_rows.hpp"

namespace openbpu::kernels {

Rows<TConvParams> tconv_rows() {
  static const Row<TConvParams> rows[] = {
#ifdef OPENBPU_HAS_AVX2
      kTConvAvx2,
#endif
#ifdef OPENBPU_HAS_NEONI8MM
      kTConvNeonI8mm,
#endif
#ifdef OPENBPU_HAS_NEONDOT
      kTConvNeonDot,
#endif
#ifdef OPENBPU_HAS_NEON
      kTConvNeon,
#endif
      kTConvScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<TConv16Params> tconv16_rows() {
  static const Row<TConv16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kTConv16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kTConv16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kTConv16Neon,
#endif
      kTConv16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
