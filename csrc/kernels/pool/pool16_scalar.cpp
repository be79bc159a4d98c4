#include "kernels/elements.hpp"
#include "kernels/pool/pool_rows.hpp"
#include "numerics/elementwise.hpp"

namespace openbpu::kernels {
namespace {

// Calls tap(value) for each tap of the window that lies inside the input; returns their number.
template <class Params, class Tap>
std::int32_t for_each_tap(const Params& p, std::int32_t n, std::int32_t oy, std::int32_t ox, std::int32_t c, Tap tap) {
  const PoolGeometry& g = p.window;
  std::int32_t taps = 0;
  for (std::int32_t ky = 0; ky < g.kernel_h; ++ky)
    for (std::int32_t kx = 0; kx < g.kernel_w; ++kx) {
      const std::int32_t iy = oy * g.stride_h - g.pad_top + ky * g.dilation_h;
      const std::int32_t ix = ox * g.stride_w - g.pad_left + kx * g.dilation_w;
      if (iy < 0 || iy >= p.in.h || ix < 0 || ix >= p.in.w) continue;
      tap(load_element(element_at(p.in, n, iy, ix, c), kInt16));
      ++taps;
    }
  return taps;
}

void run_max(const MaxPool16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    std::int32_t best = -32768;
    for_each_tap(p, n, y, x, c, [&](std::int32_t v) { best = v > best ? v : best; });
    store_element(element_at(p.out, n, y, x, c), kInt16, best);
  });
}

void run_average(const AvgPool16Params& p, const std::uint8_t*, std::uint8_t*, std::int32_t begin, std::int32_t end) {
  for_each_element(p.out, begin, end, [&](std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t c) {
    std::int64_t sum = 0;
    const std::int32_t taps = for_each_tap(p, n, y, x, c, [&](std::int32_t v) { sum += v; });
    const Rq16Entry& e = p.rq.entries[p.entry_count == 1 || taps == 0 ? 0 : taps - 1];
    store_element(element_at(p.out, n, y, x, c), p.rq.out, numerics::rq16(sum, e.bias, e.m, e.sh, p.rq.lo, p.rq.hi));
  });
}

}  // namespace

const Row<MaxPool16Params> kMaxPool16Scalar{"maxpool16_scalar", Isa::Scalar, accepts_all,
                                            plan_output_rows,   nullptr,     run_max};
const Row<AvgPool16Params> kAvgPool16Scalar{"avgpool16_scalar", Isa::Scalar, accepts_all,
                                            plan_output_rows,   nullptr,     run_average};

}  // namespace openbpu::kernels
