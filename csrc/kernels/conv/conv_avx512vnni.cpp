#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/gemm_avx512vnni.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<avx512::GemmCore>;

}  // namespace

const Row<ConvParams> kConvAvx512Vnni{
    "conv_avx512vnni_6x64", Isa::Avx512Vnni, Ways::accepts, Ways::plan, Ways::pack, Ways::run, Ways::region};

}  // namespace openbpu::kernels
