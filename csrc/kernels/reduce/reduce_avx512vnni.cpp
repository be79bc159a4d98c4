#include "kernels/kernel.hpp"
#include "kernels/x86/vec512.hpp"
// Vec comes first.
#include "kernels/reduce/reduce_vector.hpp"

namespace openbpu::kernels {

const Row<ReduceParams> kReduceAvx512Vnni{"reduce_avx512vnni", Vec::kIsa, simple, plan_pixels, nullptr, run_reduce};
const Row<ArgMaxParams> kArgMaxAvx512Vnni{"argmax_avx512vnni", Vec::kIsa, stored_for_vec,
                                          plan_pixels,         nullptr,   run_argmax};

}  // namespace openbpu::kernels
