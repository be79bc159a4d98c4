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

}  // namespace openbpu::kernels
