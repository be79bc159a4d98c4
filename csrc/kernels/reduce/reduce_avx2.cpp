#include "kernels/kernel.hpp"
#include "kernels/x86/vec256.hpp"
// Vec comes first.
#include "kernels/reduce/reduce_vector.hpp"

namespace openbpu::kernels {

const Row<ReduceParams> kReduceAvx2{"reduce_avx2", Vec::kIsa, simple, plan_pixels, nullptr, run_reduce};
const Row<ArgMaxParams> kArgMaxAvx2{"argmax_avx2", Vec::kIsa, stored_for_vec, plan_pixels, nullptr, run_argmax};

}  // namespace openbpu::kernels
