#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/dwconv/dwconv16_vector.hpp"

namespace openbpu::kernels {

const Row<DwConv16Params> kDwConv16Avx2{"dwconv16_avx2", Wide::kIsa,    accepts_dwconv16,
                                        plan_dwconv16,   pack_dwconv16, run_dwconv16};

}  // namespace openbpu::kernels
