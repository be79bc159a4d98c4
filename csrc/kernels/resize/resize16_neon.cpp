#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/resize/resize16_vector.hpp"

namespace openbpu::kernels {

const Row<ResizeBilinear16Params> kResizeBilinear16Neon{"resize_bilinear16_neon", Wide::kIsa, accepts_bilinear16,
                                                        plan_bilinear16,          nullptr,    run_bilinear16};

}  // namespace openbpu::kernels
