#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/lut/lut_vector.hpp"

namespace openbpu::kernels {

const Row<Lut8Params> kLut8Avx2{"lut8_avx2", Vec::kIsa, stored_for_vec, plan, pack, run};

}  // namespace openbpu::kernels
