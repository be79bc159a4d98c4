#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/pool/pool_vector.hpp"

namespace openbpu::kernels {

const Row<MaxPoolParams> kMaxPoolAvx2{"maxpool_avx2", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_max};
const Row<AvgPoolParams> kAvgPoolAvx2{"avgpool_avx2", Vec::kIsa, small_window, plan_rows, nullptr, run_average};

}  // namespace openbpu::kernels
