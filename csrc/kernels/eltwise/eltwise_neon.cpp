#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/eltwise/eltwise_vector.hpp"

namespace openbpu::kernels {

const Row<AddParams> kAddNeon{"add_neon", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_add};
const Row<MulParams> kMulNeon{"mul_neon", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_mul};
const Row<ExtremeParams> kExtremeNeon{"extreme_neon", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_extreme};

}  // namespace openbpu::kernels
