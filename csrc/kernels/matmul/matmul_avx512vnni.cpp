#include "kernels/matmul/matmul_as_conv.hpp"

namespace openbpu::kernels {
namespace {

using Product = MatMulAsConv<kConvAvx512Vnni>;

}  // namespace

const Row<MatMulParams> kMatMulAvx512Vnni{
    "matmul_avx512vnni_6x64", Isa::Avx512Vnni, Product::accepts, Product::plan, Product::pack, Product::run,
    Product::region};

}  // namespace openbpu::kernels
