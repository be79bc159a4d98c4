#include "kernels/roiresize/roiresize_rows.hpp"

namespace openbpu::kernels {

Rows<RoiResizeParams> roiresize_rows() {
  static const Row<RoiResizeParams> rows[] = {
#ifdef OPENBPU_HAS_AVX2
      kRoiResizeAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kRoiResizeNeon,
#endif
      kRoiResizeScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
