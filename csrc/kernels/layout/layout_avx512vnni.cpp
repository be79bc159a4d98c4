#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/layout/layout_vector.hpp"

namespace openbpu::kernels {

const Row<CopyParams> kCopyAvx512Vnni{"copy_avx512vnni", Vec::kIsa, contiguous, plan_rows, nullptr, run_copy};

}  // namespace openbpu::kernels
