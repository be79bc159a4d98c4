#include "kernels/resize/resize_rows.hpp"

namespace openbpu::kernels {

Rows<ResizeParams> resize_nearest_rows() {
  static const Row<ResizeParams> rows[] = {
      kResizeNearestScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<ResizeParams> resize_bilinear_rows() {
  static const Row<ResizeParams> rows[] = {
      kResizeBilinearScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
