#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/resize/resize_vector.hpp"

namespace openbpu::kernels {

const Row<ResizeParams> kResizeNearestAvx2{
    "resize_nearest_avx2", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_nearest};
const Row<ResizeParams> kResizeBilinearAvx2{
    "resize_bilinear_avx2", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_bilinear};

}  // namespace openbpu::kernels
