#include "kernels/arm/gemm.hpp"
#include "kernels/conv/conv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<neoni8mm::GemmCore>;

}  // namespace

const Row<ConvParams> kConvNeonI8mm{"conv_neoni8mm_6x16", Isa::NeonI8mm, Ways::accepts, Ways::plan,
                                    Ways::pack,           Ways::run,     Ways::region};

}  // namespace openbpu::kernels
