#include "kernels/layout/layout_rows.hpp"

namespace openbpu::kernels {

Rows<CopyParams> copy_rows() {
  static const Row<CopyParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kCopyAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kCopyAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kCopyNeon,
#endif
      kCopyScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<FillParams> fill_rows() {
  static const Row<FillParams> rows[] = {
      kFillScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
