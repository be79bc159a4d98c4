#include "kernels/x86/wide512.hpp"
// Wide comes first.
#include "kernels/pool/pool16_vector.hpp"

namespace openbpu::kernels {

const Row<MaxPool16Params> kMaxPool16Avx512Vnni{
    "maxpool16_avx512vnni", Wide::kIsa, accepts_maxpool16, plan_pool16, nullptr, run_maxpool16};
const Row<AvgPool16Params> kAvgPool16Avx512Vnni{
    "avgpool16_avx512vnni", Wide::kIsa, accepts_avgpool16, plan_pool16, nullptr, run_avgpool16};

}  // namespace openbpu::kernels
