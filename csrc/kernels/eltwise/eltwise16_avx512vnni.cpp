#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/eltwise/eltwise16_vector.hpp"

namespace openbpu::kernels {

const Row<Add16Params> kAdd16Avx512Vnni{"add16_avx512vnni", Wide::kIsa, accepts_add16, plan_rows16, nullptr, run_add16};
const Row<Mul16Params> kMul16Avx512Vnni{"mul16_avx512vnni", Wide::kIsa, accepts_mul16, plan_rows16, nullptr, run_mul16};

}  // namespace openbpu::kernels
