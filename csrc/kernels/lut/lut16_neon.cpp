#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/lut/lut16_vector.hpp"

namespace openbpu::kernels {

const Row<Lut16Params> kLut16Neon{"lut16_neon", Wide::kIsa, accepts_lut16, plan_lut16, nullptr, run_lut16};

}  // namespace openbpu::kernels
