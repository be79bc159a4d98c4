#include "kernels/lut/lut_rows.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const Lut8Params&) { return true; }

// One unit is one row of one image.
Plan plan(const Lut8Params& p) { return {0, 0, p.out.n * p.out.h}; }

void run(const Lut8Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::uint8_t* in = p.in.data + n * p.in.sn + y * p.in.sh + x * p.in.sw;
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t c = 0; c < p.out.c; ++c)
        out[c] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(p.table[in[c] ^ p.flip ^ 0x80]) ^ p.flip);
    }
  }
}

}  // namespace

const Row<Lut8Params> kLut8Scalar{"lut8_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace openbpu::kernels
