#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvNeon>;

}  // namespace

const Row<MatMulParams> kMatMulNeon{"matmul_neon_5x16", Isa::Neon,    Product::accepts, Product::plan,
                                    Product::pack,      Product::run, Product::region};

}  // namespace openbpu::kernels
