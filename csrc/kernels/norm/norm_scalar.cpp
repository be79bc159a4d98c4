#include "kernels/norm/norm_rows.hpp"
#include "numerics/norm.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const NormParams&) { return true; }

// One unit is one pixel.
Plan plan(const NormParams& p) { return {0, 0, p.out.n * p.out.h * p.out.w}; }

void run_pixel(const NormParams& p, const std::uint8_t* in, std::uint8_t* out) {
  const std::int32_t n = p.in.c;
  const auto at = [&](std::int32_t c) { return static_cast<std::int8_t>(in[c] ^ p.flip); };
  std::int64_t s1 = 0, s2 = 0;
  for (std::int32_t c = 0; c < n; ++c) {
    s1 += at(c);
    s2 += at(c) * at(c);
  }
  const numerics::NormFactors f = p.centred
                                      ? numerics::layernorm_factors(s1, s2, n, p.eps, p.F, numerics::kNorm8)
                                      : numerics::rmsnorm_factors(s1, s2, n, p.in_zero, p.eps, p.F, numerics::kNorm8);
  for (std::int32_t c = 0; c < n; ++c) {
    const std::int32_t y = numerics::norm(at(c), f, p.g[c], p.b[c], p.sh, p.lo, p.hi);
    out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(y) ^ p.flip);
  }
}

void run(const NormParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t x = unit % p.out.w, row = unit / p.out.w, y = row % p.out.h, n = row / p.out.h;
    run_pixel(p, p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw,
              p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw);
  }
}

}  // namespace

const Row<NormParams> kNormScalar{"norm_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
