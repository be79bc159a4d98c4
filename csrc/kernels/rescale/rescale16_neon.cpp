#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/rescale/rescale16_vector.hpp"

namespace openbpu::kernels {

const Row<Rescale16Params> kRescale16Neon{"rescale16_neon", Wide::kIsa, accepts_rescale16,
                                          plan_rescale16,   nullptr,    run_rescale16};

}  // namespace openbpu::kernels
