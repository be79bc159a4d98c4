#include "kernels/select/select.hpp"

namespace openbpu::kernels {
namespace {

bool accepts(const SelectParams&) { return true; }

// One unit is one row of one image.
Plan plan(const SelectParams& p) { return {0, 0, p.out.n * p.out.h}; }

// Where an operand stands for an output; extents of 1 do not move.
struct Walk {
  const std::uint8_t* data;
  std::int64_t sn, sh, sw, sc;

  explicit Walk(const View& v)
      : data(v.data), sn(v.n > 1 ? v.sn : 0), sh(v.h > 1 ? v.sh : 0), sw(v.w > 1 ? v.sw : 0), sc(v.c > 1 ? 1 : 0) {}
  const std::uint8_t* at(std::int32_t n, std::int32_t y, std::int32_t x) const {
    return data + n * sn + y * sh + x * sw;
  }
};

void run(const SelectParams& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  const Walk a(p.a), b(p.b), condition(p.condition);
  for (std::int32_t unit = begin; unit < end; ++unit) {
    const std::int32_t n = unit / p.out.h, y = unit % p.out.h;
    for (std::int32_t x = 0; x < p.out.w; ++x) {
      const std::uint8_t *from_a = a.at(n, y, x), *from_b = b.at(n, y, x), *chosen = condition.at(n, y, x);
      std::uint8_t* out = p.out.data + n * p.out.sn + y * p.out.sh + x * p.out.sw;
      for (std::int32_t c = 0; c < p.out.c; ++c)
        out[c] = chosen[c * condition.sc] != p.flip ? from_a[c * a.sc] : from_b[c * b.sc];
    }
  }
}

const Row<SelectParams> kScalar{"select_scalar", Isa::Scalar, accepts, plan, nullptr, run};

}  // namespace

Rows<SelectParams> select_rows() { return {&kScalar, 1}; }

}  // namespace openbpu::kernels
