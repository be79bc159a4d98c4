#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/pool/pool16_vector.hpp"

namespace openbpu::kernels {

const Row<MaxPool16Params> kMaxPool16Avx2{"maxpool16_avx2", Wide::kIsa, accepts_maxpool16,
                                          plan_pool16,      nullptr,    run_maxpool16};
const Row<AvgPool16Params> kAvgPool16Avx2{"avgpool16_avx2", Wide::kIsa, accepts_avgpool16,
                                          plan_pool16,      nullptr,    run_avgpool16};

}  // namespace openbpu::kernels
