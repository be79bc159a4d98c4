#include "kernels/csc/csc_rows.hpp"

namespace openbpu::kernels {

Rows<CscParams> csc_rows() {
  static const Row<CscParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kCscAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kCscAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kCscNeon,
#endif
      kCscScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
