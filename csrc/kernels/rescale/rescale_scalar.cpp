#include "kernels/rescale/rescale_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const RescaleParams&) { return true; }

// One unit is one row of one image.
Plan plan(const RescaleParams& p) { return {0, 0, p.out.n * p.out.h}; }

void run(const RescaleParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw;
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t c = 0; c < p.out.c; ++c) {
        const Rq16Entry& e = p.entries[p.entry_count == 1 ? 0 : c];
        const std::int32_t q = numerics::rq16(static_cast<std::int8_t>(in[c] ^ p.flip), e.bias, e.m, e.sh, p.lo, p.hi);
        out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(q) ^ p.flip);
      }
    }
  }
}

}  // namespace

const Row<RescaleParams> kRescaleScalar{"rescale_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
