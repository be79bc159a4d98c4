#include "kernels/arm/vec128.hpp"
#include "kernels/kernel.hpp"
// Vec comes first.
#include "kernels/reduce/reduce_vector.hpp"

namespace openbpu::kernels {

const Row<ReduceParams> kReduceNeon{"reduce_neon", Vec::kIsa, simple, plan_pixels, nullptr, run_reduce};
const Row<ArgMaxParams> kArgMaxNeon{"argmax_neon", Vec::kIsa, stored_for_vec, plan_pixels, nullptr, run_argmax};

}  // namespace openbpu::kernels
