#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvAvx2>;

}  // namespace

const Row<MatMulParams> kMatMulAvx2{"matmul_avx2_4x16", Isa::Avx2,    Product::accepts, Product::plan,
                                    Product::pack,      Product::run, Product::region};

}  // namespace openbpu::kernels
