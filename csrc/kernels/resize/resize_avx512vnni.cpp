#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/resize/resize_vector.hpp"

namespace openbpu::kernels {

const Row<ResizeParams> kResizeNearestAvx512Vnni{
    "resize_nearest_avx512vnni", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_nearest};
const Row<ResizeParams> kResizeBilinearAvx512Vnni{
    "resize_bilinear_avx512vnni", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_bilinear};

}  // namespace openbpu::kernels
