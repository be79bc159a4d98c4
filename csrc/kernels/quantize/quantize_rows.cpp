#include "kernels/quantize/quantize_rows.hpp"

namespace openbpu::kernels {

Rows<QuantizeParams> quantize_rows() {
  static const Row<QuantizeParams> rows[] = {
      kQuantizeScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<QuantizeParams> dequantize_rows() {
  static const Row<QuantizeParams> rows[] = {
      kDequantizeScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
