#include "kernels/tconv/tconv_ways.hpp"
#include "kernels/x86/gemm_avx2.hpp"

namespace openbpu::kernels {
namespace {

using Ways = TConvWays<avx2::GemmCore>;

}  // namespace

const Row<TConvParams> kTConvAvx2{"tconv_avx2_4x16", Isa::Avx2, Ways::accepts, Ways::plan, Ways::pack, Ways::run};

}  // namespace openbpu::kernels
