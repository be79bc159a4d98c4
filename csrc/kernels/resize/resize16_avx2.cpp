#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/resize/resize16_vector.hpp"

namespace openbpu::kernels {

const Row<ResizeBilinear16Params> kResizeBilinear16Avx2{"resize_bilinear16_avx2", Wide::kIsa, accepts_bilinear16,
                                                        plan_bilinear16,          nullptr,    run_bilinear16};

}  // namespace openbpu::kernels
