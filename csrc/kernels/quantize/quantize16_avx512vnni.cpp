#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/quantize/quantize16_vector.hpp"

namespace openbpu::kernels {

const Row<Quantize16Params> kQuantize16Avx512Vnni{
    "quantize16_avx512vnni", Wide::kIsa, accepts_quantize16, plan_port16, nullptr, run_quantize16};
const Row<Quantize16Params> kDequantize16Avx512Vnni{
    "dequantize16_avx512vnni", Wide::kIsa, accepts_dequantize16, plan_port16, nullptr, run_dequantize16};

}  // namespace openbpu::kernels
