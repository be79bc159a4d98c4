#include "kernels/pool/pool_rows.hpp"

namespace openbpu::kernels {

Rows<MaxPoolParams> maxpool_rows() {
  static const Row<MaxPoolParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kMaxPoolAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMaxPoolAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kMaxPoolNeon,
#endif
      kMaxPoolScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<AvgPoolParams> avgpool_rows() {
  static const Row<AvgPoolParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kAvgPoolAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kAvgPoolAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kAvgPoolNeon,
#endif
      kAvgPoolScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<MaxPool16Params> maxpool16_rows() {
  static const Row<MaxPool16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kMaxPool16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kMaxPool16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kMaxPool16Neon,
#endif
      kMaxPool16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<AvgPool16Params> avgpool16_rows() {
  static const Row<AvgPool16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kAvgPool16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kAvgPool16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kAvgPool16Neon,
#endif
      kAvgPool16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
