#include "kernels/dwconv/dwconv_rows.hpp"

namespace openbpu::kernels {

Rows<DwConvParams> dwconv_rows() {
  static const Row<DwConvParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kDwConv3x3Avx512Vnni, kDwConvAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kDwConvAvx2,
#endif
#ifdef OPENBPU_HAS_NEONDOT
      kDwConv3x3NeonDot,
#endif
#ifdef OPENBPU_HAS_NEON
      kDwConvNeon,
#endif
      kDwConvScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<DwConv16Params> dwconv16_rows() {
  static const Row<DwConv16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kDwConv16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kDwConv16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kDwConv16Neon,
#endif
      kDwConv16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
