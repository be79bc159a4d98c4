#include "kernels/conv/conv_ways.hpp"
#include "kernels/x86/gemm_avxvnni.hpp"

namespace openbpu::kernels {
namespace {

using Ways = ConvWays<avxvnni::GemmCore>;

}  // namespace

const Row<ConvParams> kConvAvxVnni{"conv_avxvnni_6x16", Isa::AvxVnni, Ways::accepts, Ways::plan,
                                   Ways::pack,          Ways::run,    Ways::region};

}  // namespace openbpu::kernels
