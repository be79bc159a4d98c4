#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/lut/lut16_vector.hpp"

namespace openbpu::kernels {

const Row<Lut16Params> kLut16Avx512Vnni{"lut16_avx512vnni", Wide::kIsa, accepts_lut16, plan_lut16, nullptr, run_lut16};

}  // namespace openbpu::kernels
