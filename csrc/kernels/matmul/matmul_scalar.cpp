#include "kernels/canonical_weights.hpp"
#include "kernels/matmul/matmul_rows.hpp"
#include "numerics/rq8.hpp"

namespace openbpu::kernels {
namespace {

std::int32_t value(std::uint8_t stored, std::uint8_t flip) { return static_cast<std::int8_t>(stored ^ flip); }

std::uint8_t stored(std::int32_t y, std::uint8_t flip) {
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(y) ^ flip);
}

bool accepts(const MatMulParams&) { return true; }

// One unit is one row of one matrix.
Plan plan(const MatMulParams& p) { return {0, 0, p.out.n * p.out.w}; }

void run(const MatMulParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const CanonicalWeights weights{p.weights, p.out.c, 1, p.in.c};
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.w, row = unit % p.out.w;
    const std::uint8_t* in = p.in.data + n * p.in.sn + row * p.in.sw;
    std::uint8_t* out = p.out.data + n * p.out.sn + row * p.out.sw;
    for (std::int32_t o = 0; o < p.out.c; ++o) {
      std::uint32_t acc = 0;
      for (std::int32_t k = 0; k < p.in.c; ++k)
        acc += static_cast<std::uint32_t>(weights.at(0, o, 0, k) * value(in[k], p.flip));
      out[o] = stored(
          numerics::rq8(static_cast<std::int32_t>(acc), p.rq.B[o], p.rq.m[o], p.rq.s[o], p.rq.L, p.rq.lo, p.rq.hi),
          p.flip);
    }
  }
}

bool accepts_dynamic(const MatMulDParams&) { return true; }

// One unit is one row of one matrix.
Plan plan_dynamic(const MatMulDParams& p) { return {0, 0, p.out.n * p.out.w}; }

void run_dynamic(const MatMulDParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const std::int64_t step_k = p.transpose_b ? 1 : p.b.sw, step_o = p.transpose_b ? p.b.sw : 1;
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.w, row = unit % p.out.w;
    const std::uint8_t* a = p.a.data + n * p.a.sn + row * p.a.sw;
    std::uint8_t* out = p.out.data + n * p.out.sn + row * p.out.sw;
    for (std::int32_t o = 0; o < p.out.c; ++o) {
      const std::uint8_t* b = p.b.data + n * p.b.sn + o * step_o;
      std::uint32_t acc = 0;
      for (std::int32_t k = 0; k < p.a.c; ++k)
        acc += static_cast<std::uint32_t>((value(a[k], p.flip) - p.a_zero) * (value(b[k * step_k], p.flip) - p.b_zero));
      out[o] = stored(
          numerics::rq8(static_cast<std::int32_t>(acc), p.rq.B[0], p.rq.m[0], p.rq.s[0], p.rq.L, p.rq.lo, p.rq.hi),
          p.flip);
    }
  }
}

}  // namespace

const Row<MatMulParams> kMatMulScalar{"matmul_scalar", Isa::Scalar, accepts, plan, nullptr, run};
const Row<MatMulDParams> kMatMulDScalar{"matmuld_scalar", Isa::Scalar, accepts_dynamic,
                                        plan_dynamic,     nullptr,     run_dynamic};

}  // namespace openbpu::kernels
