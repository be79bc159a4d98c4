#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/conv/conv16_vector.hpp"

namespace openbpu::kernels {

const Row<Conv16Params> kConv16Neon{"conv16_neon", Wide::kIsa, accepts_conv16, plan_conv16, pack_conv16, run_conv16};

}  // namespace openbpu::kernels
