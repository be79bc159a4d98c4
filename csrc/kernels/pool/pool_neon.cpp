#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/pool/pool_vector.hpp"

namespace openbpu::kernels {

const Row<MaxPoolParams> kMaxPoolNeon{"maxpool_neon", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_max};
const Row<AvgPoolParams> kAvgPoolNeon{"avgpool_neon", Vec::kIsa, small_window, plan_rows, nullptr, run_average};

}  // namespace openbpu::kernels
