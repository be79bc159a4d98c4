#include "kernels/elements.hpp"
#include "kernels/eltwise/eltwise_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

// Calls op(a, b) for each element of units [begin, end) and stores the result.
template <class Params, class Op>
void for_each(const Params& p, std::int32_t begin, std::int32_t end, Op op) {
  const auto step = [](std::int32_t extent, std::int64_t stride) { return extent > 1 ? stride : 0; };
  const std::int64_t bn = step(p.b.n, p.b.sn), bh = step(p.b.h, p.b.sh), bw = step(p.b.w, p.b.sw), bc = step(p.b.c, 1);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::uint8_t* a = p.a.data + n * p.a.sn + y * p.a.sh + x * p.a.sw;
      const std::uint8_t* b = p.b.data + n * bn + y * bh + x * bw;
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        const std::int32_t value =
            op(static_cast<std::int8_t>(a[c] ^ p.flip), static_cast<std::int8_t>(b[c * bc] ^ p.flip));
        out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(value) ^ p.flip);
      }
    }
  }
}

void run_add(const AddParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end,
           [&p](std::int32_t a, std::int32_t b) { return numerics::add(a, b, p.ma, p.mb, p.C, p.sh, p.lo, p.hi); });
}

void run_mul(const MulParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end, [&p](std::int32_t a, std::int32_t b) {
    return numerics::mul(a, b, p.a_zero, p.b_zero, p.m, p.sh, p.zero, p.lo, p.hi);
  });
}

void run_extreme(const ExtremeParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end,
           [&p](std::int32_t a, std::int32_t b) { return numerics::clamp((a > b) == p.largest ? a : b, p.lo, p.hi); });
}

bool holds(Relation relation, std::int32_t a, std::int32_t b) {
  switch (relation) {
    case Relation::Equal:
      return a == b;
    case Relation::Less:
      return a < b;
    case Relation::LessOrEqual:
      return a <= b;
    case Relation::Greater:
      return a > b;
    case Relation::GreaterOrEqual:
      return a >= b;
    case Relation::Different:
      return a != b;
  }
  return false;
}

void run_cmp(const CmpParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end, [&p](std::int32_t a, std::int32_t b) {
    return holds(p.relation, p.ranks[a + 128], p.ranks[b + 384]) ? 1 : 0;
  });
}

void run_div(const DivParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each(p, begin, end, [&p](std::int32_t a, std::int32_t b) {
    return numerics::quotient(a - p.a_zero, p.ratio[b + 128], p.sh, p.zero, p.lo, p.hi);
  });
}

}  // namespace

const Row<AddParams> kAddScalar{"add_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_add};
const Row<MulParams> kMulScalar{"mul_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_mul};
const Row<ExtremeParams> kExtremeScalar{"extreme_scalar", Isa::Scalar, accepts_all,
                                        plan_output_rows, nullptr,     run_extreme};
const Row<CmpParams> kCmpScalar{"cmp_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_cmp};
const Row<DivParams> kDivScalar{"div_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run_div};

}  // namespace openbpu::kernels
