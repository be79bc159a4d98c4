#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/lut/lut_vector.hpp"

namespace openbpu::kernels {

const Row<Lut8Params> kLut8Avx512Vnni{"lut8_avx512vnni", Vec::kIsa, stored_for_vec, plan, pack, run};

}  // namespace openbpu::kernels
