#include "kernels/lut/lut_rows.hpp"

namespace openbpu::kernels {

Rows<Lut8Params> lut8_rows() {
  static const Row<Lut8Params> rows[] = {
      kLut8Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
