#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/quantize/quantize_vector.hpp"

namespace openbpu::kernels {

const Row<QuantizeParams> kQuantizeAvx2{"quantize_avx2", Vec::kIsa, quantises, plan_quantize, nullptr, run_quantize};
const Row<QuantizeParams> kDequantizeAvx2{"dequantize_avx2", Vec::kIsa, dequantises,
                                          plan_dequantize,   nullptr,   run_dequantize};

}  // namespace openbpu::kernels
