#include "kernels/rescale/rescale_rows.hpp"

namespace openbpu::kernels {

Rows<RescaleParams> rescale_rows() {
  static const Row<RescaleParams> rows[] = {
      kRescaleScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
