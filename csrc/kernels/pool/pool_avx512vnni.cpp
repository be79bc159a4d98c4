#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/pool/pool_vector.hpp"

namespace openbpu::kernels {

const Row<MaxPoolParams> kMaxPoolAvx512Vnni{
    "maxpool_avx512vnni", Vec::kIsa, stored_for_vec, plan_rows, nullptr, run_max};
const Row<AvgPoolParams> kAvgPoolAvx512Vnni{"avgpool_avx512vnni", Vec::kIsa, small_window, plan_rows, nullptr,
                                            run_average};

}  // namespace openbpu::kernels
