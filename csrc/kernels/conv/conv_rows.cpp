#include "kernels/conv/conv_rows.hpp"

namespace openbpu::kernels {

Rows<ConvParams> conv_rows() {
  static const Row<ConvParams> rows[] = {
#ifdef OPENBPU_HAS_AMX
      kConvAmx,
#endif
#ifdef OPENBPU_HAS_AVX512VNNI
      kConvAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVXVNNI
      kConvAvxVnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kConvAvx2,
#endif
#ifdef OPENBPU_HAS_NEONI8MM
      kConvNeonI8mm,
#endif
#ifdef OPENBPU_HAS_NEONDOT
      kConvNeonDot,
#endif
#ifdef OPENBPU_HAS_NEON
      kConvNeon,
#endif
      kConvScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Conv16Params> conv16_rows() {
  static const Row<Conv16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kConv16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kConv16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kConv16Neon,
#endif
      kConv16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
