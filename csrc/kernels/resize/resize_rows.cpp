#include "kernels/resize/resize_rows.hpp"

namespace openbpu::kernels {

Rows<ResizeParams> resize_nearest_rows() {
  static const Row<ResizeParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kResizeNearestAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kResizeNearestAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kResizeNearestNeon,
#endif
      kResizeNearestScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<ResizeParams> resize_bilinear_rows() {
  static const Row<ResizeParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kResizeBilinearAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kResizeBilinearAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kResizeBilinearNeon,
#endif
      kResizeBilinearScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<ResizeNearest16Params> resize_nearest16_rows() {
  static const Row<ResizeNearest16Params> rows[] = {
      kResizeNearest16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<ResizeBilinear16Params> resize_bilinear16_rows() {
  static const Row<ResizeBilinear16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kResizeBilinear16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kResizeBilinear16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kResizeBilinear16Neon,
#endif
      kResizeBilinear16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
