#include "kernels/pool/pool_rows.hpp"

namespace openbpu::kernels {

Rows<MaxPoolParams> maxpool_rows() {
  static const Row<MaxPoolParams> rows[] = {
      kMaxPoolScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<AvgPoolParams> avgpool_rows() {
  static const Row<AvgPoolParams> rows[] = {
      kAvgPoolScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
