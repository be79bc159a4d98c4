#include "kernels/rescale/rescale_rows.hpp"

namespace openbpu::kernels {

Rows<RescaleParams> rescale_rows() {
  static const Row<RescaleParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kRescaleAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kRescaleAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kRescaleNeon,
#endif
      kRescaleScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Rescale16Params> rescale16_rows() {
  static const Row<Rescale16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kRescale16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kRescale16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kRescale16Neon,
#endif
      kRescale16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
