#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/rescale/rescale_vector.hpp"

namespace openbpu::kernels {

const Row<RescaleParams> kRescaleAvx512Vnni{"rescale_avx512vnni", Vec::kIsa, per_tensor, plan, pack, run};

}  // namespace openbpu::kernels
