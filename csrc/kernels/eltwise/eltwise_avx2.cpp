#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/eltwise/eltwise_vector.hpp"

namespace openbpu::kernels {

const Row<AddParams> kAddAvx2{"add_avx2", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_add};
const Row<MulParams> kMulAvx2{"mul_avx2", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_mul};
const Row<ExtremeParams> kExtremeAvx2{"extreme_avx2", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_extreme};

}  // namespace openbpu::kernels
