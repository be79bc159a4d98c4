#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/gemm_amx.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<amx::GemmCore>;

}  // namespace

const Row<ConvParams> kConvAmx{"conv_amx_32x32", Isa::Amx,  Ways::accepts, Ways::plan,
                               Ways::pack,       Ways::run, Ways::region};

}  // namespace openbpu::kernels
