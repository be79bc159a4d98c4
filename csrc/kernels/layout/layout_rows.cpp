#include "kernels/layout/layout_rows.hpp"

namespace openbpu::kernels {

Rows<CopyParams> copy_rows() {
  static const Row<CopyParams> rows[] = {
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
