#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/matmul/matmuld16_vector.hpp"

namespace openbpu::kernels {

const Row<MatMulD16Params> kMatMulD16Avx512Vnni{"matmuld16_avx512vnni", Wide::kIsa, accepts_matmuld16,
                                                plan_matmuld16,         nullptr,    run_matmuld16};

}  // namespace openbpu::kernels
