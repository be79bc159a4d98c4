#include "kernels/arm/wide128.hpp"
// Wide comes first.
#include "kernels/softmax/softmax16_vector.hpp"

namespace openbpu::kernels {

const Row<Softmax16Params> kSoftmax16Neon{"softmax16_neon", Wide::kIsa, accepts_softmax16,
                                          plan_softmax16,   nullptr,    run_softmax16};

}  // namespace openbpu::kernels
