#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/dwconv/dwconv16_vector.hpp"

namespace openbpu::kernels {

const Row<DwConv16Params> kDwConv16Avx512Vnni{"dwconv16_avx512vnni", Wide::kIsa,    accepts_dwconv16,
                                              plan_dwconv16,         pack_dwconv16, run_dwconv16};

}  // namespace openbpu::kernels
