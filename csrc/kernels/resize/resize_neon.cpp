#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/resize/resize_vector.hpp"

namespace openbpu::kernels {

const Row<ResizeParams> kResizeNearestNeon{
    "resize_nearest_neon", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_nearest};
const Row<ResizeParams> kResizeBilinearNeon{
    "resize_bilinear_neon", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_bilinear};

}  // namespace openbpu::kernels
