#include "kernels/eltwise/eltwise_rows.hpp"

namespace openbpu::kernels {

Rows<AddParams> add_rows() {
  static const Row<AddParams> rows[] = {
      kAddScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<MulParams> mul_rows() {
  static const Row<MulParams> rows[] = {
      kMulScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
