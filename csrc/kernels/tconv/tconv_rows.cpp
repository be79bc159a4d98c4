#include "kernels/tconv/tconv_rows.hpp"

namespace openbpu::kernels {

Rows<TConvParams> tconv_rows() {
  static const Row<TConvParams> rows[] = {
      kTConvScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
