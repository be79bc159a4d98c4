#include "kernels/arm/gemm.hpp"
#include "kernels/conv/conv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<neon::GemmCore>;

}  // namespace

const Row<ConvParams> kConvNeon{"conv_neon_5x16", Isa::Neon, Ways::accepts, Ways::plan,
                                Ways::pack,       Ways::run, Ways::region};

}  // namespace openbpu::kernels
