#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/norm/norm16_vector.hpp"

namespace openbpu::kernels {

const Row<Norm16Params> kNorm16Neon{"norm16_neon", Wide::kIsa, accepts_norm16, plan_norm16, pack_norm16, run_norm16};

}  // namespace openbpu::kernels
