#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/quantize/quantize16_vector.hpp"

namespace openbpu::kernels {

const Row<Quantize16Params> kQuantize16Neon{"quantize16_neon", Wide::kIsa, accepts_quantize16,
                                            plan_port16,       nullptr,    run_quantize16};
const Row<Quantize16Params> kDequantize16Neon{"dequantize16_neon", Wide::kIsa, accepts_dequantize16,
                                              plan_port16,         nullptr,    run_dequantize16};

}  // namespace openbpu::kernels
