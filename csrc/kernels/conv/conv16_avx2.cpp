#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/conv/conv16_vector.hpp"
#include "kernels/tconv/tconv16_vector.hpp"

namespace openbpu::kernels {

const Row<Conv16Params> kConv16Avx2{"conv16_avx2", Wide::kIsa, accepts_conv16, plan_conv16, pack_conv16, run_conv16};
const Row<TConv16Params> kTConv16Avx2{"tconv16_avx2", Wide::kIsa,   accepts_tconv16,
                                      plan_tconv16,   pack_tconv16, run_tconv16};

}  // namespace openbpu::kernels
