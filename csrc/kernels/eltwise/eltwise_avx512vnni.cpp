#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/eltwise/eltwise_vector.hpp"

namespace openbpu::kernels {

const Row<AddParams> kAddAvx512Vnni{"add_avx512vnni", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_add};
const Row<MulParams> kMulAvx512Vnni{"mul_avx512vnni", Vec::kIsa, stored_for_vec, plan_parts, nullptr, run_mul};
const Row<ExtremeParams> kExtremeAvx512Vnni{"extreme_avx512vnni", Vec::kIsa, stored_for_vec,
                                            plan_parts,           nullptr,   run_extreme};

}  // namespace openbpu::kernels
