#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/rescale/rescale_vector.hpp"

namespace openbpu::kernels {

const Row<RescaleParams> kRescaleNeon{"rescale_neon", Vec::kIsa, per_tensor, plan, pack, run};

}  // namespace openbpu::kernels
