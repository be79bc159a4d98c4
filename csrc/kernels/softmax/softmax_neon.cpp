#include "kernels/arm/vec128.hpp"
// Vec comes first.
#include "kernels/softmax/softmax_vector.hpp"

namespace openbpu::kernels {

const Row<SoftmaxParams> kSoftmaxNeon{"softmax_neon", Vec::kIsa, accepts, plan, pack, run};

}  // namespace openbpu::kernels
