#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/dwconv/dwconv16_vector.hpp"

namespace openbpu::kernels {

const Row<DwConv16Params> kDwConv16Neon{"dwconv16_neon", Wide::kIsa,    accepts_dwconv16,
                                        plan_dwconv16,   pack_dwconv16, run_dwconv16};

}  // namespace openbpu::kernels
