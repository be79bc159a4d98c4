#include "kernels/arm/gemm.hpp"
#include "kernels/conv/conv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<neoni8mm::GemmCore>;

// One pixel alone would waste half of every product of two by two.
bool accepts(const ConvParams& p) { return p.out.h * p.out.w > 1 && Ways::accepts(p); }

}  // namespace

const Row<ConvParams> kConvNeonI8mm{"conv_neoni8mm_6x16", Isa::NeonI8mm, accepts,     Ways::plan,
                                    Ways::pack,           Ways::run,     Ways::region};

}  // namespace openbpu::kernels
