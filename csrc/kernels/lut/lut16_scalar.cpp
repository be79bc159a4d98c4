#include "kernels/elements.hpp"
#include "kernels/lut/lut_rows.hpp"
#include "numerics/int16.hpp"

namespace openbpu::kernels {
namespace {

void run(const Lut16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    const std::int32_t v = load_element(element_at(p.in, n, y, x, c), kInt16);
    store_element(element_at(p.out, n, y, x, c), kInt16, numerics::lut16(p.table, v, p.shift));
  });
}

}  // namespace

const Row<Lut16Params> kLut16Scalar{"lut16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
