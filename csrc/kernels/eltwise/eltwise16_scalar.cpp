#include "kernels/elements.hpp"
#include "kernels/eltwise/eltwise_rows.hpp"
#include "numerics/int16.hpp"

namespace openbpu::kernels {
namespace {

// Calls op(a, b) for each element of units [begin, end) and stores the result.
template <class Params, class Op>
void for_each(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const auto within = [](std::int32_t extent, std::int32_t at) { return extent > 1 ? at : 0; };
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    const std::int32_t a = load_element(element_at(p.a, n, y, x, c), kInt16);
    const std::int32_t b =
        load_element(element_at(p.b, within(p.b.n, n), within(p.b.h, y), within(p.b.w, x), within(p.b.c, c)), kInt16);
    store_element(element_at(p.out, n, y, x, c), p.rq.out, op(a, b));
  });
}

void run_add(const Add16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Rq16Entry& e = *p.rq.entries;
  for_each(p, begin, end, [&](std::int32_t a, std::int32_t b) {
    return numerics::add16(a, b, p.ma, p.mb, e.bias, e.sh, p.rq.lo, p.rq.hi);
  });
}

void run_mul(const Mul16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Rq16Entry& e = *p.rq.entries;
  for_each(p, begin, end,
           [&](std::int32_t a, std::int32_t b) { return numerics::rq16(a * b, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi); });
}

}  // namespace

const Row<Add16Params> kAdd16Scalar{"add16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_add};
const Row<Mul16Params> kMul16Scalar{"mul16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_mul};

}  // namespace openbpu::kernels
