#include "kernels/quantize/quantize_rows.hpp"

namespace openbpu::kernels {

Rows<QuantizeParams> quantize_rows() {
  static const Row<QuantizeParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kQuantizeAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kQuantizeAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kQuantizeNeon,
#endif
      kQuantizeScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<QuantizeParams> dequantize_rows() {
  static const Row<QuantizeParams> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kDequantizeAvx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kDequantizeAvx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kDequantizeNeon,
#endif
      kDequantizeScalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Quantize16Params> quantize16_rows() {
  static const Row<Quantize16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kQuantize16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kQuantize16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kQuantize16Neon,
#endif
      kQuantize16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

Rows<Quantize16Params> dequantize16_rows() {
  static const Row<Quantize16Params> rows[] = {
#ifdef OPENBPU_HAS_AVX512VNNI
      kDequantize16Avx512Vnni,
#endif
#ifdef OPENBPU_HAS_AVX2
      kDequantize16Avx2,
#endif
#ifdef OPENBPU_HAS_NEON
      kDequantize16Neon,
#endif
      kDequantize16Scalar,
  };
  return {rows, sizeof rows / sizeof rows[0]};
}

}  // namespace openbpu::kernels
