#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/matmul/matmuld16_vector.hpp"

namespace openbpu::kernels {

const Row<MatMulD16Params> kMatMulD16Neon{"matmuld16_neon", Wide::kIsa, accepts_matmuld16,
                                          plan_matmuld16,   nullptr,    run_matmuld16};

}  // namespace openbpu::kernels
