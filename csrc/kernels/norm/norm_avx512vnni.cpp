#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/norm/norm_vector.hpp"

namespace openbpu::kernels {

const Row<NormParams> kNormAvx512Vnni{"norm_avx512vnni", Vec::kIsa, accepts, plan, pack, run};

}  // namespace openbpu::kernels
