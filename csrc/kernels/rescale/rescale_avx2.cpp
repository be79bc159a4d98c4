#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/rescale/rescale_vector.hpp"

namespace openbpu::kernels {

const Row<RescaleParams> kRescaleAvx2{"rescale_avx2", Vec::kIsa, per_tensor, plan, pack, run};

}  // namespace openbpu::kernels
