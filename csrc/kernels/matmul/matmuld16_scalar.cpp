#include "kernels/elements.hpp"
#include "kernels/matmul/matmul_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

// One unit is one row of one matrix.
Plan plan(const MatMulD16Params& p) { return {0, 0, p.out.n * p.out.w}; }

void run(const MatMulD16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int64_t step_k = p.transpose_b ? 2 : p.b.sw, step_o = p.transpose_b ? p.b.sw : 2;
  const Rq16Entry& e = *p.rq.entries;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.w, row = unit % p.out.w;
    const std::uint8_t* a = element_at(p.a, n, 0, row, 0);
    for (std::int32_t o = 0; o < p.out.c; ++o) {
      const std::uint8_t* b = p.b.data + n * p.b.sn + o * step_o;
      std::int64_t acc = 0;
      for (std::int32_t k = 0; k < p.a.c; ++k)
        acc += load_element(a + 2 * k, kInt16) * load_element(b + k * step_k, kInt16);
      store_element(element_at(p.out, n, 0, row, o), p.rq.out,
                    numerics::rq16(acc, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi));
    }
  }
}

}  // namespace

const Row<MatMulD16Params> kMatMulD16Scalar{"matmuld16_scalar", Isa::Scalar, accepts_all, plan, nullptr, run};

}  // namespace openbpu::kernels
