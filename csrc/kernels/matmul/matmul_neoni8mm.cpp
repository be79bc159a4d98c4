#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvNeonI8mm>;

}  // namespace

const Row<MatMulParams> kMatMulNeonI8mm{"matmul_neoni8mm_6x16", Isa::NeonI8mm, Product::accepts, Product::plan,
                                        Product::pack,          Product::run,  Product::region};

}  // namespace openbpu::kernels
