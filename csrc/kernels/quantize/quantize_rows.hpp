// The rows of quantize_rows(), dequantize_rows(), each defined in the file of its ISA.
#pragma once

#include "kernels/quantize/quantize.hpp"

namespace openbpu::kernels {

extern const Row<QuantizeParams> kQuantizeAvx512Vnni;
extern const Row<QuantizeParams> kQuantizeAvx2;
extern const Row<QuantizeParams> kQuantizeNeon;
extern const Row<QuantizeParams> kQuantizeScalar;
extern const Row<QuantizeParams> kDequantizeAvx512Vnni;
extern const Row<QuantizeParams> kDequantizeAvx2;
extern const Row<QuantizeParams> kDequantizeNeon;
extern const Row<QuantizeParams> kDequantizeScalar;
extern const Row<Quantize16Params> kQuantize16Avx512Vnni;
extern const Row<Quantize16Params> kQuantize16Avx2;
extern const Row<Quantize16Params> kQuantize16Neon;
extern const Row<Quantize16Params> kQuantize16Scalar;
extern const Row<Quantize16Params> kDequantize16Avx512Vnni;
extern const Row<Quantize16Params> kDequantize16Avx2;
extern const Row<Quantize16Params> kDequantize16Neon;
extern const Row<Quantize16Params> kDequantize16Scalar;

}  // namespace openbpu::kernels
