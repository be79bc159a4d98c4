#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvAmx>;

}  // namespace

const Row<MatMulParams> kMatMulAmx{"matmul_amx_32x32", Isa::Amx,     Product::accepts, Product::plan,
                                   Product::pack,      Product::run, Product::region};

}  // namespace openbpu::kernels
