#include "kernels/arm/gemm.hpp"
#include "kernels/tconv/tconv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = TConvWays<neondot::GemmCore>;

}  // namespace

const Row<TConvParams> kTConvNeonDot{"tconv_neondot_5x16", Isa::NeonDot, Ways::accepts,
                                     Ways::plan,           Ways::pack,   Ways::run};

}  // namespace openbpu::kernels
