#include "kernels/arm/gemm.hpp"
#include "kernels/tconv/tconv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = TConvWays<neon::GemmCore>;

}  // namespace

const Row<TConvParams> kTConvNeon{"tconv_neon_5x16", Isa::Neon, Ways::accepts, Ways::plan, Ways::pack, Ways::run};

}  // namespace openbpu::kernels
