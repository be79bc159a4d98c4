#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/layout/layout_vector.hpp"

namespace openbpu::kernels {

const Row<CopyParams> kCopyNeon{"copy_neon", Vec::kIsa, contiguous, plan_rows, nullptr, run_copy};

}  // namespace openbpu::kernels
