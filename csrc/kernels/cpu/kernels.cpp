#include <cstring>

#include "kernels/cpu/kernel.hpp"

namespace openbpu::kernels::cpu {

const Kernel* find_kernel(const char* name) {
  for (const Span<const Kernel>& group :
       {kMoveKernels, kGatherKernels, kSelectKernels, kUnaryKernels, kCastKernels, kBinaryKernels, kReduceKernels,
        kRowKernels, kMatMulKernels, kConvKernels, kTransposedKernels, kPoolKernels, kResizeKernels, kGridKernels,
        kSamplingKernels, kRecurrentKernels, kQuantiseKernels, kAlgebraKernels})
    for (const Kernel& kernel : group)
      if (std::strcmp(kernel.name, name) == 0) return &kernel;
  return nullptr;
}

}  // namespace openbpu::kernels::cpu
