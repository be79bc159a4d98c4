#include "kernels/x86/gemm_amx.hpp"

namespace openbpu::kernels {
namespace {
using Core = amx::GemmCore;
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
  amx::Session session;
  for (std::int32_t unit = begin; unit < end; ++unit) run_unit(p, l, header, unit, scratch, &session);
}

}  // namespace

const Row<MatMulDParams> kMatMulDAmx{"matmuld_amx_32x32", Isa::Amx, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
