#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/norm/norm_vector.hpp"

namespace openbpu::kernels {

const Row<NormParams> kNormNeon{"norm_neon", Vec::kIsa, accepts, plan, pack, run};

}  // namespace openbpu::kernels
