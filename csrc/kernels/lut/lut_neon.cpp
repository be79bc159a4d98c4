#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/lut/lut_vector.hpp"

namespace openbpu::kernels {

const Row<Lut8Params> kLut8Neon{"lut8_neon", Vec::kIsa, stored_for_vec, plan, pack, run};

}  // namespace openbpu::kernels
