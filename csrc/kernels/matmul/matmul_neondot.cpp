#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvNeonDot>;

}  // namespace

const Row<MatMulParams> kMatMulNeonDot{"matmul_neondot_5x16", Isa::NeonDot, Product::accepts, Product::plan,
                                       Product::pack,         Product::run, Product::region};

}  // namespace openbpu::kernels
