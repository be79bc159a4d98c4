#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/resize/resize16_vector.hpp"

namespace openbpu::kernels {

const Row<ResizeBilinear16Params> kResizeBilinear16Avx512Vnni{
    "resize_bilinear16_avx512vnni", Wide::kIsa, accepts_bilinear16, plan_bilinear16, nullptr, run_bilinear16};

}  // namespace openbpu::kernels
