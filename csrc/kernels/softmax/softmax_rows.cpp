#include "kernels/softmax/softmax_rows.hpp"

namespace openbpu::kernels {

Rows<SoftmaxParams> softmax_rows() {
  static const Row<SoftmaxParams> rows[] = {
      kSoftmaxScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
