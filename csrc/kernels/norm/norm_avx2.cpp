#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/norm/norm_vector.hpp"

namespace openbpu::kernels {

const Row<NormParams> kNormAvx2{"norm_avx2", Vec::kIsa, accepts, plan, pack, run};

}  // namespace openbpu::kernels
