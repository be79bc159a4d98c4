#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/quantize/quantize_vector.hpp"

namespace openbpu::kernels {

const Row<QuantizeParams> kQuantizeAvx512Vnni{"quantize_avx512vnni", Vec::kIsa, quantises,
                                              plan_quantize,         nullptr,   run_quantize};
const Row<QuantizeParams> kDequantizeAvx512Vnni{"dequantize_avx512vnni", Vec::kIsa, dequantises,
                                                plan_dequantize,         nullptr,   run_dequantize};

}  // namespace openbpu::kernels
