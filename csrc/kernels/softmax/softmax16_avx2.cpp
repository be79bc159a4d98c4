#include "kernels/x86/wide256.hpp"
// Wide comes first.
#include "kernels/softmax/softmax16_vector.hpp"

namespace openbpu::kernels {

const Row<Softmax16Params> kSoftmax16Avx2{"softmax16_avx2", Wide::kIsa, accepts_softmax16,
                                          plan_softmax16,   nullptr,    run_softmax16};

}  // namespace openbpu::kernels
