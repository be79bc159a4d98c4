#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/eltwise/eltwise16_vector.hpp"

namespace openbpu::kernels {

const Row<Add16Params> kAdd16Neon{"add16_neon", Wide::kIsa, accepts_add16, plan_rows16, nullptr, run_add16};
const Row<Mul16Params> kMul16Neon{"mul16_neon", Wide::kIsa, accepts_mul16, plan_rows16, nullptr, run_mul16};

}  // namespace openbpu::kernels
