#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/quantize/quantize_vector.hpp"

namespace openbpu::kernels {

const Row<QuantizeParams> kQuantizeNeon{"quantize_neon", Vec::kIsa, quantises, plan_quantize, nullptr, run_quantize};
const Row<QuantizeParams> kDequantizeNeon{"dequantize_neon", Vec::kIsa, dequantises,
                                          plan_dequantize,   nullptr,   run_dequantize};

}  // namespace openbpu::kernels
