#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/softmax/softmax_vector.hpp"

namespace openbpu::kernels {

const Row<SoftmaxParams> kSoftmaxAvx512Vnni{"softmax_avx512vnni", Vec::kIsa, accepts, plan, pack, run};

}  // namespace openbpu::kernels
