#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/softmax/softmax_vector.hpp"

namespace openbpu::kernels {

const Row<SoftmaxParams> kSoftmaxAvx2{"softmax_avx2", Vec::kIsa, accepts, plan, pack, run};

}  // namespace openbpu::kernels
