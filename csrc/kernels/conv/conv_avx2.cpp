#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/gemm_avx2.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<avx2::GemmCore>;

}  // namespace

const Row<ConvParams> kConvAvx2{"conv_avx2_4x16", Isa::Avx2, Ways::accepts, Ways::plan,
                                Ways::pack,       Ways::run, Ways::region};

}  // namespace openbpu::kernels
