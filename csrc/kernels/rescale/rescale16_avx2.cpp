#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/rescale/rescale16_vector.hpp"

namespace openbpu::kernels {

const Row<Rescale16Params> kRescale16Avx2{"rescale16_avx2", Wide::kIsa, accepts_rescale16,
                                          plan_rescale16,   nullptr,    run_rescale16};

}  // namespace openbpu::kernels
