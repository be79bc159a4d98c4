#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvAvxVnni>;

}  // namespace

const Row<MatMulParams> kMatMulAvxVnni{"matmul_avxvnni_6x16", Isa::AvxVnni, Product::accepts, Product::plan,
                                       Product::pack,         Product::run, Product::region};

}  // namespace openbpu::kernels
