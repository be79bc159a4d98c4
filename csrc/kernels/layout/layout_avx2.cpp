#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/layout/layout_vector.hpp"

namespace openbpu::kernels {

const Row<CopyParams> kCopyAvx2{"copy_avx2", Vec::kIsa, contiguous, plan_rows, nullptr, run_copy};

}  // namespace openbpu::kernels
