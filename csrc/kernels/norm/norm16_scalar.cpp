#include "kernels/elements.hpp"
#include "kernels/norm/norm_rows.hpp"
#include "numerics/norm.hpp"

namespace openbpu::kernels {
namespace {

void run_pixel(const Norm16Params& p, std::int32_t n, std::int32_t y, std::int32_t x) {
  const std::int32_t count = p.in.c;
  const auto at = [&](std::int32_t c) { return load_element(element_at(p.in, n, y, x, c), kInt16); };
  std::int64_t s1 = 0, s2 = 0;
  for (std::int32_t c = 0; c < count; ++c) {
    s1 += at(c);
    s2 += std::int64_t{at(c)} * at(c);
  }
  const numerics::NormFactors f = p.centred
                                      ? numerics::layernorm_factors(s1, s2, count, p.eps, p.F, numerics::kNorm16)
                                      : numerics::rmsnorm_factors(s1, s2, count, 0, p.eps, p.F, numerics::kNorm16);
  for (std::int32_t c = 0; c < count; ++c)
    store_element(element_at(p.out, n, y, x, c), p.stored,
                  numerics::norm16(at(c), f, p.g[c], p.b[c], p.sh, p.lo, p.hi));
}

void run(const Norm16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit)
    for (std::int32_t x = 0; x < p.out.w; ++x) run_pixel(p, unit / p.out.h, unit % p.out.h, x);
}

}  // namespace

const Row<Norm16Params> kNorm16Scalar{"norm16_scalar", Isa::Scalar, accepts_all, plan_output_rows, nullptr, run};

}  // namespace openbpu::kernels
