#include "kernels/elements.hpp"
#include "kernels/rescale/rescale_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

void run(const Rescale16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    const Rq16Entry& e = p.rq.entries[p.entry_count == 1 ? 0 : c];
    const std::int32_t v = load_element(element_at(p.in, n, y, x, c), p.stored);
    store_element(element_at(p.out, n, y, x, c), p.rq.out, numerics::rq16(v, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi));
  });
}

}  // namespace

const Row<Rescale16Params> kRescale16Scalar{"rescale16_scalar", Isa::Scalar, accepts_all,
                                            plan_output_rows,   nullptr,     run};

}  // namespace openbpu::kernels
