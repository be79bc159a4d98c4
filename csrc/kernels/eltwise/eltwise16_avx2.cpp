#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/eltwise/eltwise16_vector.hpp"

namespace openbpu::kernels {

const Row<Add16Params> kAdd16Avx2{"add16_avx2", Wide::kIsa, accepts_add16, plan_rows16, nullptr, run_add16};
const Row<Mul16Params> kMul16Avx2{"mul16_avx2", Wide::kIsa, accepts_mul16, plan_rows16, nullptr, run_mul16};

}  // namespace openbpu::kernels
