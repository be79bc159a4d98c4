#include "kernels/arm/gemm.hpp"
#include "kernels/tconv/tconv_ways.hpp"

namespace openbpu::kernels {
namespace {

using Ways = TConvWays<neoni8mm::GemmCore>;

}  // namespace

const Row<TConvParams> kTConvNeonI8mm{
    "tconv_neoni8mm_6x16", Isa::NeonI8mm, Ways::accepts, Ways::plan, Ways::pack, Ways::run};

}  // namespace openbpu::kernels
