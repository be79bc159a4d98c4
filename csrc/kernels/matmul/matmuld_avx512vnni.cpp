#include "kernels/x86/gemm_avx512vnni.hpp"

namespace openbpu::kernels {
namespace {
using Core = avx512::GemmCore;
}
}  // namespace openbpu::kernels

// Core comes first.
#include "kernels/matmul/matmuld_blocks.hpp"

namespace openbpu::kernels {
namespace {

void run(const MatMulDParams& p, const std::uint8_t*, std::uint8_t* scratch, std::int32_t begin, std::int32_t end) {
  const Layout l = lay_out(p);
  Block header;
  make_header(p, &header);
  for (std::int32_t unit = begin; unit < end; ++unit) run_unit(p, l, header, unit, scratch);
}

}  // namespace

const Row<MatMulDParams> kMatMulDAvx512Vnni{"matmuld_avx512vnni_6x64", Isa::Avx512Vnni, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
