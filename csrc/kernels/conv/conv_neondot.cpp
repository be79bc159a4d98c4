#include "kernels/arm/gemm.hpp"
#include "kernels/conv/conv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<neondot::GemmCore>;

}  // namespace

const Row<ConvParams> kConvNeonDot{"conv_neondot_5x16", Isa::NeonDot, Ways::accepts, Ways::plan,
                                   Ways::pack,          Ways::run,    Ways::region};

}  // namespace openbpu::kernels
